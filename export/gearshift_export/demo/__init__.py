"""The model that ships: rendered rooms, training, figures."""
