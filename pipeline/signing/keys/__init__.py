"""Keep private keys: key ring, passphrases, tokens, key managers. What is signed is not known here."""
