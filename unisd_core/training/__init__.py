"""Training: the student's update from one batch, and the weights of its teacher."""
