"""Report a night: facts as JSON data, and the page, text and messages made from them. Nothing here changes a cloud."""
