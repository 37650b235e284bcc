package pkg_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoEtcdWithoutEmbed: a gtmd that is built with -tags noembed links nothing of etcd's server, and one without that tag does.
func TestNoEtcdWithoutEmbed(t *testing.T) {
	for tags, want := range map[string]bool{"": true, "noembed": false} {
		out, err := exec.Command("go", "list", "-deps", "-tags", tags, module+"/cmd/gtmd").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), etcd+"/server"); got != want {
			t.Errorf("with -tags %q, etcd's server is linked: %v", tags, got)
		}
	}
}
