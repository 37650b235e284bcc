package main

import (
	"path/filepath"

	"filippo.io/age"
	"github.com/spf13/pflag"
)

// signing says where the keys of signed zones are.
type signing struct {
	groupKey, keys, recipients string
	identity                   *age.X25519Identity // of groupKey, once it was read
}

func (g *signing) register(s *pflag.FlagSet) {
	s.StringVar(&g.groupKey, "group-key", "", "file with the age identity that opens zone-signing keys, of an edge or a group of edges, "+
		"or of control (default: group.key in the data folder, made if missing)")
	s.StringVar(&g.keys, "keys", "", "folder in which control keeps key-signing keys; back it up, and share it among control roles "+
		"(default: keys in the data folder)")
	s.StringVar(&g.recipients, "group-recipients", "",
		"file of the age recipients that control seals zone-signing keys for (default: those that edges tell through the store)")
}

// within gives it with what is absent in its place in the data folder.
func (g signing) within(data string) signing {
	if g.groupKey == "" {
		g.groupKey = filepath.Join(data, "group.key")
	}
	if g.keys == "" {
		g.keys = filepath.Join(data, "keys")
	}
	return g
}
