package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// A copy of each zone's keyset lies beside the key-signing keys: a store that is built anew gets it back, and with it the keys that
// the parent knows. It is of use only with the identity that opens its zone-signing keys.

const keptSuffix = ".keyset"

func (f folder) keptPath(zone string) string {
	return filepath.Join(string(f), "K"+fileName(zone)+keptSuffix)
}

// keep writes the copy of a keyset, unless there is one of the same keys that is newer: then the store went back.
func (f folder) keep(ks dnssec.Keyset) error {
	old, err := f.kept(ks.Zone)
	if err == nil && old.Serial >= ks.Serial && shareKeys(old, ks) {
		return nil
	}
	text, err := json.Marshal(ks)
	if err != nil {
		return err
	}
	if err := replacePrivate(f.keptPath(ks.Zone), text); err != nil {
		return fmt.Errorf("cannot keep a copy of the keys of %s: %w", ks.Zone, err)
	}
	return nil
}

func (f folder) kept(zone string) (ks dnssec.Keyset, err error) {
	text, err := os.ReadFile(f.keptPath(zone))
	if err != nil {
		return ks, err
	}
	err = json.Unmarshal(text, &ks)
	return ks, err
}

// forgetKept removes the copy of a zone that is not signed any more.
func (f folder) forgetKept(zone string) error {
	if err := os.Remove(f.keptPath(zone)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func shareKeys(a, b dnssec.Keyset) bool {
	return slices.ContainsFunc(a.State.Keys, func(k dnssec.KeyState) bool {
		return k.KSK && slices.ContainsFunc(b.State.Keys, func(o dnssec.KeyState) bool { return string(o.Public) == string(k.Public) })
	})
}

// replacePrivate writes a file (0600) that is there whole or not at all.
func replacePrivate(path string, text []byte) error {
	return installPrivate(path, text, os.Rename)
}

// Kept gives the last keysets that were seen, also from before the last start, by zone.
func (m *Manager) Kept() (map[string]dnssec.Keyset, error) {
	entries, err := os.ReadDir(string(m.folder))
	if err != nil {
		return nil, err
	}
	all := map[string]dnssec.Keyset{}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), keptSuffix) {
			continue
		}
		name := filepath.Join(string(m.folder), e.Name())
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read a copy of a zone's keys: %w", err)
		}
		var ks dnssec.Keyset
		if err := json.Unmarshal(text, &ks); err != nil {
			return nil, fmt.Errorf("%s is not the copy of a zone's keys that it should be: %w", name, err)
		}
		all[ks.Zone] = ks
	}
	return all, nil
}

// keepCopies brings the copies up to date. A failure is told once for each keyset, and hinders nothing else.
func (m *Manager) keepCopies() {
	keysets := m.cfg.Mirror.Keysets()
	for zone, ks := range keysets {
		if m.copied[zone] == ks.Serial {
			continue
		}
		m.copied[zone] = ks.Serial
		if err := m.folder.keep(ks); err != nil {
			m.metrics.failures.Inc()
			m.cfg.Logger.Error("a copy of a zone's keys cannot be kept", "zone", zone, "error", err)
		}
	}
}
