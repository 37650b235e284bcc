package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

func TestIncludesAreInlined(t *testing.T) {
	dir := write(t, map[string]string{"b.yml": zoneYAML, "sub/example.zone": master + "$INCLUDE more/hosts\nz A 192.0.2.9\n",
		"sub/more/hosts": "a A 192.0.2.1\n"})
	all, err := Load([]string{dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	content := all[0].Spec.(*spec.Zone).Content
	for _, want := range []string{"a.example.\t3600\tIN\tA\t192.0.2.1\n", "z.example.\t3600\tIN\tA\t192.0.2.9\n"} {
		if !strings.Contains(content, want) || strings.Contains(content, "$INCLUDE") {
			t.Errorf("want %q in\n%s", want, content)
		}
	}
}

func TestIncludesStayInTheFolder(t *testing.T) {
	for name, line := range map[string]string{"above": "../secret", "by a link": "link", "absolute": "/etc/hostname"} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"b.yml": zoneYAML, "sub/example.zone": master + "$INCLUDE " + line + "\n",
				"secret": "a A 192.0.2.1\n"})
			if err := os.Symlink("../secret", filepath.Join(dir, "sub/link")); err != nil {
				t.Fatal(err)
			}
			_, err := Load([]string{dir}, nil)
			if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "sub/example.zone")+":6: ") ||
				strings.Contains(err.Error(), "192.0.2.1") {
				t.Errorf("error %v, want one at line 6 of the master file", err)
			}
		})
	}
}

func TestFaultsOfIncludedFilesNameThem(t *testing.T) {
	dir := write(t, map[string]string{"b.yml": zoneYAML, "sub/example.zone": master + "$INCLUDE hosts\n",
		"sub/hosts": "\na A 192.0.2.300\n"})
	_, err := Load([]string{dir}, nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "sub/hosts")+":2: ") {
		t.Errorf("error %v, want one at line 2 of the included file", err)
	}
	dir = write(t, map[string]string{"b.yml": zoneYAML, "sub/example.zone": master + "$INCLUDE hosts\n",
		"sub/hosts": "\nns1 CNAME x\nx A 192.0.2.1\nx CNAME y\n"})
	_, err = Load([]string{dir}, nil)
	for _, line := range []string{":2: ", ":4: "} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "sub/hosts")+line) ||
			!strings.Contains(err.Error(), "a CNAME stands alone") {
			t.Errorf("error %v, want one at line %s", err, line)
		}
	}
}
