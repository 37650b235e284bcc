package discover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"syscall"

	"gopkg.in/yaml.v3"

	"github.com/gti/gtm/pkg/spec"
)

// mostFile is how many bytes a file may have.
const mostFile = 1 << 20

// lookInFile reads the source's file.
func (r *run) lookInFile() (o outcome) {
	if r.f.cfg.Files == "" {
		return outcome{err: fmt.Errorf("the control that looks, %s, runs without gtmd --discover-files", r.f.cfg.ID)}
	}
	data, err := readFile(r.f.cfg.Files, r.id.Tenant, r.source.File)
	if err != nil {
		return outcome{err: r.unread(err)}
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

// readFile reads a file of a tenant's folder as a whole, or says why not. One that changes meanwhile is not whole. A link leads to where
// it leads within that folder, as in what is mounted from a cluster's configuration, and never out of it: tenants hear of what is read.
func readFile(folder, tenant, name string) ([]byte, error) {
	all, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer all.Close()
	root, err := all.OpenRoot(tenant)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	before, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // else a pipe in its place has it wait
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch is, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !is.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case is.Size() > mostFile:
		return nil, fmt.Errorf("the file %s has %d bytes: it can have at most %d", name, is.Size(), mostFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, mostFile+1))
	if err != nil {
		return nil, err
	}
	after, err := f.Stat()
	if err != nil || after.Size() != int64(len(data)) || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		return nil, fmt.Errorf("the file %s changed while it was read: write another one, and rename it to that name", name)
	}
	return data, nil
}

// unread says in words for tenants why a file was not read: where files stand is not for them.
func (r *run) unread(err error) error {
	var at *fs.PathError
	name := r.id.Tenant + "/" + r.source.File
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &tellable{"control " + r.f.cfg.ID + " has no file " + name + " below its --discover-files", err}
	case errors.As(err, &at):
		return &tellable{"control " + r.f.cfg.ID + " cannot read the file " + name + ": it must be a regular one in its tenant's folder",
			err}
	}
	return err
}

// noList is what a file says that is none. Nothing of such a file is quoted: nobody knows what it is.
const noList = "it is no list of endpoints as in [{address: 192.0.2.1, port: 443, weight: 1}]: "

// decodeFile reads a list in YAML or JSON: each endpoint is an address, or an address with port and weight.
func decodeFile(data []byte) ([]spec.FoundEndpoint, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, errors.New(noList + "it is neither YAML nor JSON" + near(err))
	}
	all := meant(doc.Content[0])
	switch {
	case all.Kind == yaml.ScalarNode && all.Tag == "!!null":
	case all.Kind != yaml.SequenceNode:
		return nil, fmt.Errorf("%sline %d begins %s", noList, all.Line, kindOf(all))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind its list of endpoints")
	}
	list := make([]spec.FoundEndpoint, len(all.Content))
	for i, n := range all.Content {
		e, fault := decodeEntry(meant(n))
		if fault != "" {
			return nil, fmt.Errorf("endpoints[%d], in line %d, %s", i, n.Line, fault)
		}
		list[i] = e
	}
	return list, nil
}

// decodeEntry reads either form of an endpoint, or says what it is instead.
func decodeEntry(n *yaml.Node) (e spec.FoundEndpoint, fault string) {
	switch n.Kind {
	case yaml.ScalarNode:
		return decodeField(e, "address", n)
	case yaml.MappingNode:
	default:
		return e, "is " + kindOf(n)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		if seen[key] {
			return e, fmt.Sprintf("has %.40q twice", key)
		}
		seen[key] = true
		if e, fault = decodeField(e, key, meant(n.Content[i+1])); fault != "" {
			return e, fault
		}
	}
	if !e.Address.IsValid() {
		return e, "has no address"
	}
	return e, ""
}

func decodeField(e spec.FoundEndpoint, key string, n *yaml.Node) (_ spec.FoundEndpoint, fault string) {
	switch key {
	case "address":
		var err error
		if e.Address, err = netip.ParseAddr(n.Value); err != nil || n.Kind != yaml.ScalarNode {
			return e, "has what is not an IP address"
		}
	case "port":
		if n.Decode(&e.Port) != nil {
			return e, "has a port that is not 1 to 65535"
		}
	case "weight":
		if n.Decode(&e.Weight) != nil {
			return e, "has a weight that is not a number"
		}
	default:
		return e, fmt.Sprintf("has a field %.40q: there are address, port and weight", key)
	}
	return e, ""
}

// meant gives what an alias stands for.
func meant(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return "a single value"
}

// atLine is where the decoder's words have a line, which is that of a fault, or of what it stands in.
var atLine = regexp.MustCompile(`^yaml: line (\d+):`)

func near(err error) string {
	if at := atLine.FindStringSubmatch(err.Error()); at != nil {
		return ", near line " + at[1]
	}
	return ""
}
