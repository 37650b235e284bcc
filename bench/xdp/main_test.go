package main

import (
	"slices"
	"testing"

	"github.com/gti/gtm/bench/peers"
)

func TestChosen(t *testing.T) {
	for only, want := range map[string][]string{
		"steered,static": {peers.Steered, peers.Static},
		"static":         {peers.Static},
		"":               {peers.Steered, peers.Static},
		"statik":         nil,
	} {
		if got, err := chosen(only); !slices.Equal(got, want) && err == nil || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %v", only, got, err)
		}
	}
}
