"""Files, sound and pictures: decoders and models in processes of their own, which may die."""
