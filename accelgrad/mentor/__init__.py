"""What helps while learning: explanations of gradients, a coach, checks of exercises."""
