"""What a publisher needs: the producing end, what it keeps for replay, its claim to an agent, its recording."""
