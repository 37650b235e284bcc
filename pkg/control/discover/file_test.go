package discover

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// A file is taken when it is whole, and only then.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	w.declare("{name: f, file: fleet, most: 3, weight: 5}", "{name: nothing, file: absent}")
	c := w.control("a", nil)
	c.fails("nothing", "control a has no file shop/absent below its --discover-files")
	w.file("fleet", `[{"address": "192.0.2.1", "port": 8443, "weight": 0}, "192.0.2.2"]`)
	f := c.has("f", "1 2")
	if e := f.Endpoints[0]; e.Port != 8443 || *e.Weight != 0 || f.Endpoints[1].Weight != nil {
		t.Errorf("%+v", f.Endpoints)
	}
	for _, tc := range []struct{ text, why string }{
		{"", "has no endpoints"},
		{`[{"address": "192.0.2.1"}, {"addr`, "it is neither YAML nor JSON"},
		{"- 192.0.2.1\n- {address: \"192.0.2.2\n\n", "it is neither YAML nor JSON, near line"},
		{"# nothing\n", "has no endpoints"},
		{"root:x:0:0:root:/root:/bin/bash\n", "line 1 begins a single value"},
		{"secret: [192.0.2.1]\n", "line 1 begins a mapping"},
		{"- 192.0.2.3\n- 192.0.2.\n", "endpoints[1], in line 2, has what is not an IP address"},
		{"- 192.0.2.3\n- [192.0.2.4]\n", "endpoints[1], in line 2, is a list"},
		{"- 192.0.2.3\n- {port: 80}\n", "endpoints[1], in line 2, has no address"},
		{"- {address: 192.0.2.3, port: 80, port: 81}\n", `endpoints[0], in line 1, has "port" twice`},
		{"- {address: 192.0.2.3, port: 99999}\n", "endpoints[0], in line 1, has a port that is not 1 to 65535"},
		{"- {address: 192.0.2.3, weight: much}\n", "endpoints[0], in line 1, has a weight that is not a number"},
		{"- {address: 192.0.2.3, wieght: 4}\n", `endpoints[0], in line 1, has a field "wieght"`},
		{"- 192.0.2.3\n- 192.0.2.3\n", "endpoints[1].address 192.0.2.3 stands twice"},
		{"- 192.0.2.3\n- 224.0.0.1\n", "is not the address of a server"},
		{"- 192.0.2.3\n- {address: 192.0.2.4, weight: -1}\n", "endpoints[1].weight"},
		{"[192.0.2.3, 192.0.2.4, 192.0.2.5, 192.0.2.6]", "it has 4 endpoints, more than the 3"},
		{"[192.0.2.3]\n---\n[192.0.2.4]\n", "something stands behind its list"},
		{strings.Repeat("#", mostFile+1), "it can have at most"},
		{strings.Repeat("- {no: 1}\n", 20_000), `has a field "no"`},
	} {
		w.file("fleet", tc.text)
		if f := c.fails("f", tc.why); text(f.Endpoints) != "1 2" || len(f.Error) > mostTold || strings.Contains(f.Error, w.files) ||
			strings.Contains(f.Error, "root") || strings.Contains(f.Error, "secret") || strings.Contains(f.Error, "much") {
			t.Errorf("%.40q: %+v", tc.text, f)
		}
	}
	w.file("fleet", "- 192.0.2.1\n- 192.0.2.2\n- 192.0.2.3\n")
	c.has("f", "1 2 3")
	w.file("fleet", "[192.0.2.1, 192.0.2.2, '2001:db8::1']")
	if f := c.has("f", "1 2"); !strings.Contains(f.Notes, "1 of another family") {
		t.Errorf("%+v", f)
	}
}

// A link leads to what is within the folder of its tenant, and to nothing else.
func TestFilesStayInTheirFolder(t *testing.T) {
	w := newWorld(t)
	w.declare("{name: f, file: fleet}", "{name: p, file: pipe}", "{name: d, file: folder}")
	w.file("there", "[192.0.2.1]")
	folder := filepath.Join(w.files, "shop")
	other := filepath.Join(w.files, "other")
	if err := errors.Join(os.Mkdir(other, 0o700), os.WriteFile(filepath.Join(other, "theirs"), []byte("[192.0.2.7]"), 0o600),
		os.Mkdir(filepath.Join(folder, "folder"), 0o700), syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600),
		os.Symlink("there", filepath.Join(folder, "fleet"))); err != nil {
		t.Fatal(err)
	}
	c := w.control("a", nil)
	c.has("f", "1")
	c.fails("p", "pipe is not a regular file")
	c.fails("d", "folder is not a regular file")
	for _, to := range []string{filepath.Join(other, "theirs"), "../other/theirs", "/etc/passwd"} {
		if err := errors.Join(os.Symlink(to, filepath.Join(folder, "new")),
			os.Rename(filepath.Join(folder, "new"), filepath.Join(folder, "fleet"))); err != nil {
			t.Fatal(err)
		}
		if f := c.fails("f", "control a cannot read the file shop/fleet: it must be a regular one in"); text(f.Endpoints) != "1" {
			t.Errorf("%s: %+v", to, f)
		}
		w.file("fleet", "[192.0.2.1]")
		c.until("it is good again", "f", func(f *spec.Found) bool { return f.Failed.IsZero() })
	}
	c.stop()
	w.control("b", func(cfg *Config) { cfg.Files = "" }).fails("f", "the control that looks, b, runs without gtmd --discover-files")
}

func FuzzDecodeFile(f *testing.F) {
	f.Add([]byte(`[{"address": "192.0.2.1", "port": 8443, "weight": 0}, "192.0.2.2"]`))
	f.Add([]byte("- &a 192.0.2.1\n- *a\n- <<: {address: 192.0.2.1}\n"))
	f.Add([]byte("- {address: 2001:db8::1}\n---\n"))
	s := sourceOf(func(s *spec.Source) { s.Families = []string{spec.FamilyIPv4, spec.FamilyIPv6} })
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := decodeFile(data)
		if err != nil {
			return
		}
		taken, _, err := s.CheckFound(list)
		if err != nil {
			return
		}
		p := spec.Pool{Discover: []spec.Source{*s}}
		with := p.With(func(string) *spec.Found { return &spec.Found{Endpoints: taken} })
		if len(with.Endpoints) != len(taken) {
			t.Errorf("%d endpoints of %d", len(with.Endpoints), len(taken))
		}
		r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "p"}, Spec: &spec.Pool{Endpoints: with.Endpoints}}
		if err := spec.Validate(r); err != nil && len(taken) > 0 {
			t.Errorf("what was taken could not be declared: %v", err)
		}
	})
}
