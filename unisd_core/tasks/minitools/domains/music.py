"""Music: songs, playlists and speakers."""

from __future__ import annotations

from unisd_core.tasks.minitools.parameters import choice, flag, integer, optional, text
from unisd_core.tasks.minitools.tools import Tool
from unisd_core.tasks.minitools.values import PEOPLE, PLAYLISTS, ROOMS, SONGS, TOPICS

TOOLS = (
    Tool(
        "play_song",
        (text("title", SONGS), optional(text("artist", PEOPLE))),
        (
            'Play "{title}"[ by {artist}].',
            'I want to hear "{title}"[ by {artist}].',
            'Put on the song "{title}"[, the one by {artist}].',
            'Could you play "{title}"[ from {artist}]?',
        ),
        clause='play "{title}"',
    ),
    Tool(
        "set_volume",
        (text("speaker", ROOMS), integer("level", 1, 50)),
        (
            "Set the {speaker} speaker to volume {level}.",
            "Volume {level} on the {speaker} speaker.",
            "The {speaker} speaker should play at {level}.",
            "Change the volume of the {speaker} speaker to {level}.",
        ),
        clause="set the {speaker} speaker to volume {level}",
    ),
    Tool(
        "make_playlist",
        (text("name", PLAYLISTS), optional(flag("public"))),
        (
            'Create a playlist called "{name}"[ and make it {public|public|private}].',
            'Start a new playlist "{name}"[, {public|public|not public}].',
            'I need a playlist named "{name}"[, visible to {public|everyone|me only}].',
            'Make "{name}" as a playlist[ that is {public|public|not public}].',
        ),
        clause='create the playlist "{name}"',
    ),
    Tool(
        "add_song",
        (text("song", SONGS), text("playlist", PLAYLISTS)),
        (
            'Add "{song}" to "{playlist}".',
            'Put the song "{song}" on my playlist "{playlist}".',
            'My playlist "{playlist}" needs "{song}".',
            'Save "{song}" in the playlist "{playlist}".',
        ),
        clause='add "{song}" to "{playlist}"',
    ),
    Tool(
        "find_podcast",
        (text("topic", TOPICS), optional(integer("minutes", 10, 90)),
         optional(choice("level", "beginner", "expert"))),
        (
            "Find a podcast about {topic}[ of {minutes} minutes][ at {level} level].",
            "Which podcast on {topic} should I hear?[ Length {minutes} minutes.][ Level {level}.]",
            "Suggest a {topic} podcast[ of {minutes} minutes][ at {level} level].",
            "Podcast on {topic}[, {minutes} minutes][, {level} level], please.",
        ),
        clause="find a podcast about {topic}",
    ),
    Tool(
        "rate_song",
        (text("title", SONGS), integer("stars", 1, 5), optional(flag("share"))),
        (
            'Give "{title}" {stars} of 5 stars[ and {share|share|do not share} it].',
            'I rate the song "{title}" {stars} out of 5[, {share|shared|not shared}].',
            'My rating of "{title}" is {stars} of 5[; {share|share|do not share} it].',
            '"{title}" gets {stars} of 5 stars from me[, {share|share|do not share} that].',
        ),
        clause='rate "{title}" {stars} of 5',
    ),
)  # fmt: skip
HELD_OUT = ("rate_song",)
