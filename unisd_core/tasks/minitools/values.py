"""Strings the invented requests are about; short common words, so that copying is the task."""

from __future__ import annotations

CITIES = (
    "Oslo", "Rome", "Paris", "London", "Berlin", "Madrid", "Vienna", "Dublin", "Prague", "Lisbon",
    "Athens", "Boston", "Chicago", "Denver", "Seattle", "Austin", "Dallas", "Miami", "Toronto",
    "Montreal", "Sydney", "Melbourne", "Tokyo", "Delhi", "Cairo", "Lima", "Santiago", "Havana",
    "Nairobi", "Geneva", "Zurich", "Munich", "Milan", "Naples", "Venice", "Oxford", "Cambridge",
    "Glasgow", "Houston", "Portland",
)  # fmt: skip
PEOPLE = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Kate",
    "Leo", "Maria", "Nina", "Oscar", "Paul", "Rosa", "Sam", "Tina", "Victor", "Alice", "Bruno",
    "Carlos", "Diana", "Eric", "Felix", "Helen", "Ivan", "Julia", "Kevin", "Laura", "Martin",
    "Nora", "Peter", "Ruth", "Simon", "Thomas", "Walter",
)  # fmt: skip
EVENTS = (
    "budget review", "team lunch", "piano lesson", "book club", "garden party", "sales call",
    "job interview", "design meeting", "yoga class", "board meeting", "film night", "chess match",
    "staff training", "school play", "family dinner", "press briefing", "dance class",
    "wine tasting", "project kickoff", "house tour",
)  # fmt: skip
CHORES = (
    "call the bank", "water the plants", "feed the cat", "buy milk", "pay the rent",
    "send the report", "book the dentist", "walk the dog", "clean the oven", "charge the phone",
    "return the books", "empty the bins", "renew the passport", "wash the car",
    "check the mail", "order flowers", "print the tickets", "pack the bags",
)  # fmt: skip
ROOMS = (
    "kitchen", "bedroom", "office", "hallway", "bathroom", "garage", "attic", "library",
    "nursery", "basement", "studio", "pantry",
)  # fmt: skip
DOORS = (
    "front", "back", "garage", "cellar", "garden", "patio", "side", "balcony", "shed", "attic",
    "main", "terrace", "office", "kitchen", "studio", "laundry",
)  # fmt: skip
SONGS = (
    "Blue River", "Golden Sky", "Silent Rain", "Winter Light", "Ocean Road", "Midnight Train",
    "Paper Moon", "Broken Bridge", "Summer Wind", "Lonely Star", "Morning Sun", "Dark Water",
    "Silver Lake", "City Lights", "Green Valley", "Wild Horses", "Open Door", "Last Dance",
    "Stone Garden", "Red Balloon",
)  # fmt: skip
PLAYLISTS = (
    "Road Trip", "Morning Run", "Deep Focus", "Party Mix", "Sunday Jazz", "Study Time",
    "Old Friends", "Gym Power", "Rainy Day", "Dinner Music", "Summer Hits", "Quiet Night",
    "Happy Hour", "Slow Dance", "Piano Mood", "Beach Day", "Night Drive", "Coffee Break",
    "Lazy Weekend", "Family Songs",
)  # fmt: skip
TOPICS = (
    "history", "physics", "cooking", "football", "politics", "nature", "business", "travel",
    "music", "medicine", "gardening", "astronomy", "law", "design", "farming", "poetry",
    "economics", "fishing", "chess", "biology",
)  # fmt: skip
PRODUCTS = (
    "desk lamp", "rain coat", "tea pot", "phone case", "hand soap", "wall clock", "yoga mat",
    "coffee mug", "bike lock", "paper towels", "door mat", "water bottle", "hair dryer",
    "dog food", "board game", "wool socks", "garden hose", "light bulb", "travel bag",
    "bath towel",
)  # fmt: skip
FOODS = (
    "oatmeal", "apple pie", "rice", "pasta", "salad", "chicken soup", "toast", "yogurt", "pizza",
    "fish tacos", "pancakes", "beans", "fruit salad", "cheese", "bread", "lentil soup", "eggs",
    "steak",
)  # fmt: skip
COMPANIES = (
    "City Power", "North Water", "Blue Gas", "Metro Phone", "Home Rent", "Green Energy",
    "First Bank", "Sun Internet", "Park Dental", "Lake Insurance", "Star Cable", "Hill School",
    "River Gym", "Royal Mail", "Oak Clinic", "West Garage",
)  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP", "JPY", "CAD", "AUD", "CHF", "SEK", "NOK", "INR", "BRL", "MXN")
CODES = tuple(
    f"{letters}{digits}" for digits in range(21, 99, 7) for letters in ("A", "K", "R", "T")
)
