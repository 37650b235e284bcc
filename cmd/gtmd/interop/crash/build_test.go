//go:build interop

package crash

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
)

const root = "../../../.." // of the module

// gtmd is the program under test, with failpoints in it.
var gtmd string

func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gtm-crash-")
	if err == nil {
		defer os.RemoveAll(dir)
		gtmd, err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "building a gtmd with failpoints:", err)
		return 1
	}
	return m.Run()
}

// build builds gtmd. The files that have failpoints are rewritten elsewhere, and laid over those of the tree.
func build(dir string) (program string, err error) {
	above, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	files, err := filesWithFailpoints(above)
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	enable := []string{"tool", "gofail", "enable"}
	for _, file := range files {
		copied := filepath.Join(dir, file)
		text, err := os.ReadFile(filepath.Join(above, file))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(copied), 0o755)
		}
		if err == nil {
			err = os.WriteFile(copied, text, 0o644)
		}
		if err != nil {
			return "", err
		}
		enable = append(enable, copied)
		for _, name := range []string{file, strings.TrimSuffix(file, ".go") + ".fail.go"} {
			overlay.Replace[filepath.Join(above, name)] = filepath.Join(dir, name)
		}
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o644); err != nil {
		return "", err
	}
	if err := run(above, enable...); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "gtmd")
	return program, run(above, "build", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./cmd/gtmd")
}

func run(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args[:2], " "), err, text)
	}
	return nil
}

// filesWithFailpoints finds them, from the module's root.
func filesWithFailpoints(above string) (files []string, err error) {
	err = filepath.WalkDir(filepath.Join(above, "pkg"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("// gofail: var ")) {
			return err
		}
		file, err := filepath.Rel(above, path)
		files = append(files, file)
		return err
	})
	return files, err
}
