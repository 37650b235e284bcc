package described

import (
	_ "embed"
	"encoding/json"
)

//go:embed examples.json
var examplesText []byte

// Examples are bodies of requests, by operation. What they say is sent to a server in a test.
func Examples() map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(examplesText, &all); err != nil {
		panic("examples.json: " + err.Error()) // a test reads it
	}
	return all
}
