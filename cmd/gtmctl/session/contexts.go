package session

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/gti/gtm/pkg/private"
)

// Context is how one system is reached: what else flags and variables say, by a name. Paths are absolute.
type Context struct {
	Server    string `json:"server" yaml:"server"`
	TokenFile string `json:"tokenFile,omitempty" yaml:"tokenFile,omitempty"`
	// Pin, CAFile: how the server is believed.
	Pin    string `json:"pin,omitempty" yaml:"pin,omitempty"`
	CAFile string `json:"caFile,omitempty" yaml:"caFile,omitempty"`
	// CertFile and KeyFile are a client certificate.
	CertFile string `json:"certFile,omitempty" yaml:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty" yaml:"keyFile,omitempty"`
}

// Contexts are those of a person.
type Contexts struct {
	// Current is the one that counts where nothing else is said; empty: none.
	Current string             `yaml:"current,omitempty"`
	All     map[string]Context `yaml:"contexts"`

	path string
}

// What is kept at most, and read of the file.
const (
	mostContexts    = 1000
	maxContextsFile = 1 << 20
)

// LoadContexts reads those that are kept in dir; where there is no such folder, there are none.
func LoadContexts(dir string) (*Contexts, error) {
	c := &Contexts{All: map[string]Context{}}
	if dir == "" {
		return c, nil
	}
	c.path = filepath.Join(dir, "contexts.yaml")
	info, err := os.Stat(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, err
	case info.Size() > maxContextsFile:
		return nil, fmt.Errorf("%s has more than %d bytes: it is not a file of contexts", c.path, maxContextsFile)
	}
	if err := private.CheckFolder(c.path, "the contexts"); err != nil { // else others could send tokens elsewhere
		return nil, err
	}
	data, err := os.ReadFile(c.path)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %s; mend it, or remove it and gtmctl context add what was in it", c.path,
			strings.Join(strings.Fields(err.Error()), " "))
	}
	if c.All == nil {
		c.All = map[string]Context{}
	}
	return c, nil
}

// Names gives them, sorted.
func (c *Contexts) Names() []string { return slices.Sorted(maps.Keys(c.All)) }

// Get gives one by name.
func (c *Contexts) Get(name string) (Context, error) {
	if k, ok := c.All[name]; ok {
		return k, nil
	}
	return Context{}, fmt.Errorf("there is no context %s; gtmctl context list shows those that there are, gtmctl context add makes one",
		name)
}

var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Put keeps one under a name. The first is the current one.
func (c *Contexts) Put(name string, k Context) error {
	switch {
	case !contextName.MatchString(name):
		return fmt.Errorf("%q cannot be the name of a context: it takes letters, digits, dots and dashes, 63 at most", name)
	case len(c.All) >= mostContexts:
		return fmt.Errorf("there are %d contexts, as many as are kept: gtmctl context remove takes one away", mostContexts)
	}
	if c.All[name] = k; len(c.All) == 1 {
		c.Current = name
	}
	return c.save()
}

// Use makes one the current one; "": none is.
func (c *Contexts) Use(name string) error {
	if name != "" {
		if _, err := c.Get(name); err != nil {
			return err
		}
	}
	c.Current = name
	return c.save()
}

// Remove forgets one. Logins at its server stay.
func (c *Contexts) Remove(name string) error {
	if _, err := c.Get(name); err != nil {
		return err
	}
	if delete(c.All, name); c.Current == name {
		c.Current = ""
	}
	return c.save()
}

func (c *Contexts) save() error {
	if c.path == "" {
		return errors.New("there is no folder to keep contexts in: set HOME or GTM_CONFIG")
	}
	data, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return keep(c.path, data)
}

// keep writes a file for its owner alone, whole or not at all.
func keep(path string, data []byte) error {
	if err := private.MakeDir(filepath.Dir(path)); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
