package geo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// OpenKept is Open for who has to start whatever the files are like. In place of a file that cannot be used stands the last good copy of
// it, which Keep made in dir, or else, for all of them, the built-in database. faults tell what was wrong, and what stands in its place;
// nil: nothing. The atlas is watched as that of the files.
func OpenKept(dir string, files ...string) (a *Atlas, faults []error) {
	if len(files) == 0 {
		return builtinFor(nil, nil)
	}
	begun := time.Now()
	var seen []watched
	for _, file := range files {
		next, err := openFile(file)
		seen = append(seen, watched{file, stamp.Of(file)})
		if err != nil {
			kept, noCopy := openFile(keptName(dir, file))
			if noCopy != nil {
				return builtinFor(files, append(faults,
					fmt.Errorf("%w; there is no good copy of it either, and the built-in database is used", err)))
			}
			faults = append(faults, fmt.Errorf("%w; its last good copy is used, built %s", err, kept.infos[0].Built.Format(time.DateOnly)))
			kept.infos[0].File, next = file, kept
		}
		a = a.merged(next)
	}
	a.files, a.took, a.instead = seen, time.Since(begun), len(faults) > 0
	return a, faults
}

// OpenKeptLatency is OpenLatency for who has to start whatever the file is like. In place of one that cannot be used stands its last good
// copy, which Keep made in dir, or else a table that knows nothing. fault tells what was wrong, and what stands in its place; nil: nothing.
// The table is watched as that of the file.
func OpenKeptLatency(dir, file string) (t *LatencyTable, fault error) {
	seen := stamp.Of(file)
	t, err := OpenLatency(file)
	if err == nil {
		return t, nil
	}
	t, noCopy := OpenLatency(keptName(dir, file))
	if noCopy == nil {
		fault = fmt.Errorf("%w; its last good copy is used, built %s", err, t.info.Built.Format(time.DateOnly))
	} else {
		t = emptyLatency()
		fault = fmt.Errorf("%w; there is no good copy of it either, and no latency is known", err)
	}
	t.info.File, t.file, t.instead = file, watched{file, seen}, true
	return t, fault
}

// emptyLatency gives a table that knows nothing.
func emptyLatency() *LatencyTable {
	nothing := func(v4 bool) *packed {
		w := newPacker(v4, 0)
		w.add(u128{}, 0)
		return w.done()
	}
	return &LatencyTable{latencies: newLatencies(time.Time{}, 1), v4: nothing(true), v6: nothing(false)}
}

// Empty reports whether t knows nothing, which it does in place of a file that could not be used.
func (t *LatencyTable) Empty() bool { return t.info.Networks == 0 }

// Builtin reports whether a is the built-in database.
func (a *Atlas) Builtin() bool { return a.infos[0].File == builtinName }

// builtinFor gives the built-in database, watched as some files.
func builtinFor(files []string, faults []error) (*Atlas, []error) {
	a, err := Open()
	if err != nil {
		panic(err) // it is part of the program, and a test opens it
	}
	for _, file := range files {
		a.files = append(a.files, watched{file, stamp.Of(file)})
	}
	a.instead = len(faults) > 0
	return a, faults
}

// keptName is where the copy of a file stands in dir.
func keptName(dir, file string) string {
	sum := sha256.Sum256([]byte(file))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".mmdb")
}

// Keep copies the files that a was opened from into dir, for OpenKept and OpenKeptLatency. A file that has changed since is left for the
// next time.
func (a *Atlas) Keep(dir string) error {
	sums := map[string]string{}
	if !a.Builtin() {
		for i, f := range a.files {
			sums[f.file] = a.infos[i].SHA256
		}
	}
	if t := a.table; t != nil && !t.Empty() {
		sums[t.file.file] = t.info.SHA256
	}
	if len(sums) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keeping geographic databases: %w", err)
	}
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(sums)) {
		if err := keepFile(keptName(dir, file), file, sums[file]); err != nil {
			errs = append(errs, fmt.Errorf("keeping a copy of %s: %w", file, err))
		}
	}
	return errors.Join(errs...)
}

// keepFile copies file to kept if it has that sum and kept has another, at once or not at all.
func keepFile(kept, file, sum string) error {
	if old, err := os.ReadFile(kept); err == nil && hex.EncodeToString(sumOf(old)) == sum {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil || hex.EncodeToString(sumOf(data)) != sum {
		return err
	}
	temp := kept + ".new"
	if err = os.WriteFile(temp, data, 0o600); err == nil {
		err = os.Rename(temp, kept)
	}
	if err != nil {
		os.Remove(temp)
	}
	return err
}
