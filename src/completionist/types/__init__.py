"""Wire vocabulary, under OpenAI's names: what comes in (pydantic) and what goes out (msgspec)."""
