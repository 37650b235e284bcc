package course

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/gti/gtm/pkg/store/state"
)

// Trial is the edge's note on disk of which generations it is about to take, so that the next start knows on which one it crashed. It
// holds no configuration: what was served before is what the snapshot holds, which gets a generation only when it has passed its trial.
type Trial struct {
	path   string                // empty: nothing is kept
	Taking map[string]state.Mark `json:"taking,omitempty"`
	// Ended counts the ends without a word (killed, out of memory, power) while a generation was on trial. The second one is a crash.
	Ended  map[string]Ends       `json:"ended,omitempty"`
	Poison map[string]state.Mark `json:"poison,omitempty"`
}

// Ends are how often an edge ended on a generation without a word.
type Ends struct {
	state.Mark
	Times int `json:"times"`
}

// endsMost is how many ends without a word are one too many.
const endsMost = 2

const trialFile = "trial.json"

// OpenTrial reads the note in a folder, and makes poison of what an edge crashed on. crashed: it left a word of it. Beside an error, which
// is for the log, there is a Trial.
func OpenTrial(dir string, crashed bool) (*Trial, error) {
	t := &Trial{}
	if dir == "" {
		return t, nil
	}
	t.path = filepath.Join(dir, trialFile)
	text, err := os.ReadFile(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	case err == nil:
		err = json.Unmarshal(text, t)
	}
	t.conclude(crashed)
	if err != nil {
		return t, fmt.Errorf("which generation was on trial is not known: %w", err)
	}
	return t, t.write()
}

// conclude makes of what was on trial when the edge ended what it is to the next one.
func (t *Trial) conclude(crashed bool) {
	for tenant, m := range t.Taking {
		e := t.Ended[tenant]
		if !e.Same(m) {
			e = Ends{Mark: m}
		}
		if e.Times++; !crashed && e.Times < endsMost {
			set(&t.Ended, tenant, e)
			continue
		}
		delete(t.Ended, tenant)
		set(&t.Poison, tenant, m)
	}
	t.Taking = nil
}

func set[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// Begin notes that generations are about to be taken.
func (t *Trial) Begin(taking map[string]state.Mark) error {
	if len(taking) == 0 {
		return nil
	}
	for tenant, m := range taking {
		set(&t.Taking, tenant, m)
	}
	return t.write()
}

// End notes that generations are not to be served, after all.
func (t *Trial) End(taking map[string]state.Mark) error {
	if len(taking) == 0 {
		return nil
	}
	t.drop(taking)
	return t.write()
}

// drop takes generations off trial, unless a newer one of the tenant is on it.
func (t *Trial) drop(taking map[string]state.Mark) {
	for tenant, m := range taking {
		if t.Taking[tenant] == m {
			delete(t.Taking, tenant)
		}
	}
}

// Pass notes that generations have been served for long enough.
func (t *Trial) Pass(taken map[string]state.Mark) error {
	if len(taken) == 0 {
		return nil
	}
	t.drop(taken)
	for tenant, m := range taken {
		delete(t.Ended, tenant)
		if p := t.Poison[tenant]; p.Generation <= m.Generation { // the same one: somebody had it taken
			delete(t.Poison, tenant)
		}
	}
	return t.write()
}

// Poisonous lists what is poison, as in shop@41, sorted.
func (t *Trial) Poisonous() (list []string) {
	for _, tenant := range slices.Sorted(maps.Keys(t.Poison)) {
		list = append(list, fmt.Sprintf("%s@%d", tenant, t.Poison[tenant].Generation))
	}
	return list
}

// write brings the note to the file. It is not synced: what it is for, the end of a process, leaves files as they are.
func (t *Trial) write() error {
	if t.path == "" {
		return nil
	}
	if len(t.Taking)+len(t.Ended)+len(t.Poison) == 0 {
		if err := os.Remove(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(t)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(t.path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(t.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(t.path+".new", t.path)
	}
	return err
}
