"""What crosses processes: frames, states, and the rules of sending. The one book of words of both ends."""
