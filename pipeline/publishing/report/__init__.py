"""The nightly report: facts as JSON data, and the page, text and messages made from them."""
