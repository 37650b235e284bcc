package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

const site = "kind: Site\ntenant: platform\nname: fra\nspec: {region: EU-DE}\n"

const zoneYAML = "kind: Zone\ntenant: platform\nname: example.\nspec:\n  file: sub/example.zone\n"

const master = "$ORIGIN example.\n$TTL 1h\n@ IN SOA ns1 hostmaster 1 2h 30m 2w 1m\n@ IN NS ns1\nns1 IN A 192.0.2.53\n"

// write makes the files in a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadFolder(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": site, "b.yml": zoneYAML, "sub/example.zone": master, "c.txt": "not: yaml: at all", "sub/d.yaml": "ignored: true",
	})
	all, err := Load([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Name != "fra" || all[1].Name != "example." {
		t.Fatalf("loaded %v", all)
	}
	z := all[1].Spec.(*spec.Zone)
	if z.Content != master || z.File != "" {
		t.Errorf("zone has file %q and content %q", z.File, z.Content)
	}
}

func TestLoadStdin(t *testing.T) {
	all, err := Load([]string{Stdin}, strings.NewReader(site))
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	if _, err = Load([]string{Stdin}, strings.NewReader("kind: Site\nnope: 1\n")); err == nil || !strings.Contains(err.Error(), "(stdin):2: ") {
		t.Errorf("error %v does not name stdin and the line", err)
	}
}

func TestLoadTellsEveryFault(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml":        site + "---\n" + strings.Replace(site, "region", "regin", 1),
		"b.yaml":        site,
		"c.yaml":        strings.Replace(zoneYAML, "sub/example.zone", "missing.zone", 1),
		"d.yaml":        strings.Replace(zoneYAML, "name: example.", "name: other.", 1),
		"sub/d.zone":    "",
		"e.yaml":        "kind: Zone\ntenant: platform\nname: inline.\nspec:\n  content: |\n    @ IN A 192.0.2.1\n",
		"empty/ignored": "",
	})
	_, err := Load([]string{dir, filepath.Join(dir, "empty"), filepath.Join(dir, "nothere.yaml")}, nil)
	var faults spec.Errors
	if !errors.As(err, &faults) {
		t.Fatalf("error %T is not a spec.Errors: %v", err, err)
	}
	for _, want := range []string{
		"a.yaml:9: platform/Site/fra: spec.regin: ",
		"b.yaml:1: platform/Site/fra: is declared twice; first at ",
		`c.yaml:5: platform/Zone/example.: spec.file: "missing.zone": no such file or directory`,
		"e.yaml:5: platform/Zone/inline.: spec.content: zone inline. has no NS record",
		"empty: the folder has no *.yaml or *.yml file",
		"nothere.yaml: no such file or directory",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no fault has %q in\n%v", want, err)
		}
	}
}
