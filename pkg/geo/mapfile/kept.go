package mapfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// OpenKept is Open for who has to start whatever the files are like. In place of a file that cannot be used stands the last good copy of
// it, which Keep made in dir, or else nothing. faults tell what was wrong, and what stands in its place; nil: nothing. The files are
// watched as those that were asked for.
func OpenKept(dir string, files ...string) (f *Files, faults []error) {
	var contents []*content
	var seen []stamp.Stamp
	for _, file := range files {
		seen = append(seen, stamp.Of(file))
		c, err := readFile(file)
		if err != nil {
			if c, _ = readFile(keptName(dir, file)); c != nil {
				err = fmt.Errorf("%w; its last good copy is used", err)
			} else {
				c = &content{names: []string{hole}}
				err = fmt.Errorf("%w; there is no good copy of it either, and it counts as empty", err)
			}
			faults = append(faults, err)
			c.info.File = file
		}
		contents = append(contents, c)
	}
	f, err := join(contents)
	if err != nil {
		faults = append(faults, fmt.Errorf("%w; all of them count as empty", err))
		for _, c := range contents {
			*c = content{info: Info{File: c.info.File}, names: []string{hole}}
		}
		f, _ = join(contents) // of nothing, which fits
	}
	f.seen, f.instead = seen, len(faults) > 0
	return f, faults
}

// keptName is where the copy of a file stands in dir.
func keptName(dir, file string) string {
	sum := sha256.Sum256([]byte(file))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".map")
}

// Keep copies the files into dir, for OpenKept. A file that has changed since it was read is left for the next time.
func (f *Files) Keep(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping map files: %w", err)
	}
	var errs []error
	for _, i := range f.infos {
		if i.SHA256 == "" { // it stands for one that could not be read
			continue
		}
		if err := keepFile(keptName(dir, i.File), i.File, i.SHA256); err != nil {
			errs = append(errs, fmt.Errorf("keeping a copy of %s: %w", i.File, err))
		}
	}
	return errors.Join(errs...)
}

// keepFile copies file to kept if it has that sum and kept has another, at once or not at all.
func keepFile(kept, file, sum string) error {
	if copyFile(io.Discard, kept) == sum {
		return nil
	}
	temp := kept + ".new"
	out, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // where it is not in its place by then
	w := writer{w: out}
	copied := copyFile(&w, file)
	if err := errors.Join(w.err, out.Close()); err != nil || copied != sum {
		return err
	}
	return os.Rename(temp, kept)
}

// writer remembers why it could not write.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (n int, err error) {
	n, err = w.w.Write(b)
	w.err = errors.Join(w.err, err)
	return n, err
}

// copyFile copies what stands in a file, and gives its sum; empty: it could not be read to its end.
func copyFile(w io.Writer, file string) (sum string) {
	in, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, w), in); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
