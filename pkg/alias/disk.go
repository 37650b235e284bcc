package alias

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/resolve"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

// onDisk is the form of the file.
type onDisk struct {
	Version int            `json:"version"`
	Targets []targetOnDisk `json:"targets"`
}

type targetOnDisk struct {
	Host   string        `json:"host"`
	By     string        `json:"by,omitempty"`
	Places []placeOnDisk `json:"places"`
}

type placeOnDisk struct {
	Place string `json:"place,omitempty"`
	result
}

const diskVersion = 1

// load reads the file.
func (k *Keeper) load() error {
	if k.cfg.File == "" {
		return nil
	}
	data, err := os.ReadFile(k.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	kept, err := decode(data)
	if err != nil {
		return fmt.Errorf("%s: %w", k.cfg.File, err)
	}
	k.kept = kept
	return nil
}

// decode reads what encode wrote, and trusts it no more than an answer.
func decode(data []byte) (map[compile.Target]*target, error) {
	var file onDisk
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Version != diskVersion {
		return nil, fmt.Errorf("version %d is unknown", file.Version)
	}
	out := map[compile.Target]*target{}
	for _, d := range file.Targets {
		host, err := spec.CanonicalName(d.Host)
		if err != nil || host != d.Host {
			return nil, fmt.Errorf("%q is no host", d.Host)
		}
		t := &target{Target: compile.Target{Host: host, By: d.By}, names: []string{everywhere}, entries: map[string]*entry{}}
		for _, p := range d.Places {
			if _, err := geo.ParsePlace(p.Place); err != nil && p.Place != everywhere {
				return nil, fmt.Errorf("%s: %w", host, err)
			}
			odd := func(a netip.Addr) bool { return !a.IsValid() || a.Zone() != "" || resolve.Unfit(a) != "" }
			if slices.ContainsFunc(p.Addresses, odd) {
				return nil, fmt.Errorf("%s: an address that is none", host)
			}
			if t.entries[p.Place] != nil {
				return nil, fmt.Errorf("%s: %q stands twice", host, p.Place)
			}
			t.entries[p.Place] = &entry{of: t, place: p.Place, at: -1, result: p.result}
			if p.Place != everywhere {
				t.names = append(t.names, p.Place)
			}
		}
		if t.entries[everywhere] == nil {
			return nil, fmt.Errorf("%s has no result for everywhere", host)
		}
		out[t.Target] = t
	}
	return out, nil
}

func (k *Keeper) encode() ([]byte, error) {
	file := onDisk{Version: diskVersion}
	for _, s := range k.sorted() {
		d := targetOnDisk{Host: s.Host, By: s.By}
		for _, name := range s.names {
			d.Places = append(d.Places, placeOnDisk{name, s.entries[name].result})
		}
		file.Targets = append(file.Targets, d)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	err := enc.Encode(&file)
	return b.Bytes(), err
}

// save writes the file beside, and renames it, so that it is whole whatever happens.
func (k *Keeper) save() {
	k.mu.Lock()
	if !k.unsaved || k.cfg.File == "" {
		k.mu.Unlock()
		return
	}
	k.unsaved = false
	data, err := k.encode()
	k.mu.Unlock()
	if err == nil {
		err = replace(k.cfg.File, data)
	}
	if err != nil {
		k.log.Error("the results of aliases cannot be kept on disk", "error", err)
	}
}

func replace(file string, data []byte) error {
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
