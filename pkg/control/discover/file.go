package discover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"github.com/gti/gtm/pkg/spec"
)

// mostFile is how many bytes a file may have.
const mostFile = 1 << 20

// lookInFile reads the source's file.
func (r *run) lookInFile() (o outcome) {
	if r.f.cfg.Files == "" {
		return outcome{err: errors.New("control has no files of endpoints: it runs without gtmd --discover-files")}
	}
	data, err := readFile(filepath.Join(r.f.cfg.Files, r.id.Tenant, r.source.File))
	if err != nil {
		return outcome{err: err}
	}
	list, err := decodeFile(data)
	if err == nil {
		o.list, o.notes, err = r.source.CheckFound(list)
	}
	switch {
	case err != nil:
		return outcome{err: fmt.Errorf("the file %s: %w", r.source.File, err)}
	case len(o.list) == 0:
		o.empty, o.err = true, fmt.Errorf("the file %s has no endpoints", r.source.File)
	}
	return o
}

// readFile reads a file as a whole, or says why not. One that changes meanwhile is not whole.
func readFile(path string) ([]byte, error) {
	name := filepath.Base(path)
	before, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &tellable{"control has no file " + name, err}
	case err != nil:
		return nil, &tellable{"the file " + name + " cannot be read", err}
	case !before.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", name)
	case before.Size() > mostFile:
		return nil, fmt.Errorf("the file %s has %d bytes: it can have at most %d", name, before.Size(), mostFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &tellable{"the file " + name + " cannot be read", err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	if err != nil {
		return nil, &tellable{"the file " + name + " cannot be read", err}
	}
	after, err := f.Stat()
	if err != nil || after.Size() != int64(len(data)) || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		return nil, fmt.Errorf("the file %s changed while it was read: write another one, and rename it to that name", name)
	}
	return data, nil
}

// decodeFile reads a list in YAML or JSON: each endpoint is an address, or an address with port and weight.
func decodeFile(data []byte) ([]spec.FoundEndpoint, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	var entries []fileEntry
	if err := dec.Decode(&entries); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, fmt.Errorf("it is no list of endpoints as in [{address: 192.0.2.1, port: 443, weight: 1}]: %w", err)
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its list of endpoints")
	}
	list := make([]spec.FoundEndpoint, len(entries))
	for i, e := range entries {
		list[i] = spec.FoundEndpoint(e)
	}
	return list, nil
}

// fileEntry is an endpoint as a file has it.
type fileEntry spec.FoundEndpoint

// UnmarshalYAML reads either form.
func (e *fileEntry) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return n.Decode(&e.Address)
	}
	for i := 0; i+1 < len(n.Content); i += 2 { // KnownFields does not reach into here
		switch key := n.Content[i].Value; key {
		case "address", "port", "weight":
		default:
			return fmt.Errorf("line %d: there is no field %.40q; there are address, port and weight", n.Content[i].Line, key)
		}
	}
	return n.Decode((*spec.FoundEndpoint)(e))
}
