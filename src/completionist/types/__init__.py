"""Wire vocabulary, under OpenAI's names: what comes in (`request`, read by `readers`) and what goes out (`completion`)."""
