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
		"a.yaml": site, "b.yml": zoneYAML, "sub/example.zone": master, "c.txt": "not: yaml: at all",
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
	if _, err = Load([]string{Stdin}, strings.NewReader("kind: Site\nnope: 1\n")); err == nil ||
		!strings.Contains(err.Error(), "(stdin):2: ") {
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

// What was in the folders of a folder was not read, and nobody was told.
func TestFoldersInFoldersAreReadOrRefused(t *testing.T) {
	other := strings.Replace(site, "fra", "ams", 1)
	dir := write(t, map[string]string{"a.yaml": site, "shop/eu/b.yml": other, ".git/c.yaml": "nope: 1\n", "empty/d.txt": "x"})
	all, err := Load([]string{dir}, nil)
	if err != nil || len(all) != 2 || all[1].Name != "ams" {
		t.Errorf("loaded %v, %v", all, err)
	}
	linked := write(t, map[string]string{"sub/.keep": ""})
	if err := os.Symlink(filepath.Join(dir, "a.yaml"), filepath.Join(linked, "sub/file.yaml")); err != nil {
		t.Fatal(err)
	}
	if all, err := Load([]string{linked}, nil); err != nil || len(all) != 1 {
		t.Errorf("a link to a file: %v, %v", all, err)
	}
	if err := os.Symlink(linked, filepath.Join(linked, "sub/round")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load([]string{linked}, nil); err == nil || !strings.Contains(err.Error(),
		"sub/round is a link to a folder, which is not followed") {
		t.Errorf("a link to a folder: %v", err)
	}
	deep := write(t, map[string]string{strings.Repeat("d/", maxDepth) + "a.yaml": site})
	if all, err := Load([]string{deep}, nil); err != nil || len(all) != 1 {
		t.Errorf("%d folders: %v, %v", maxDepth, all, err)
	}
	deep = write(t, map[string]string{strings.Repeat("d/", maxDepth+1) + "a.yaml": site})
	if _, err := Load([]string{deep}, nil); err == nil || !strings.Contains(err.Error(), "folders deep") {
		t.Errorf("%d folders: %v", maxDepth+1, err)
	}
}
