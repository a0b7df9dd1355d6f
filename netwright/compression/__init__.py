"""Making networks small. `surgery` has the contract and the table of what is done to a network; a room each holds the ways."""
