"""How a ladder of models answers: who is asked, what is held back, what it costs."""
