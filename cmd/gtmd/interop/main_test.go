//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is the folder of the programs under test.
var bin string

// TestMain builds the programs, and plays another part where a test has started this binary for it.
func TestMain(m *testing.M) {
	if name := os.Getenv(memberEnv); name != "" {
		os.Exit(runMember(name))
	}
	if file := os.Getenv(seededEnv); file != "" {
		os.Exit(runSeeded(file))
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gtm-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+string(filepath.Separator), "github.com/gti/gtm/cmd/gtmd",
		"github.com/gti/gtm/cmd/gtmctl")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building gtmd and gtmctl:", err)
		return 1
	}
	return m.Run()
}
