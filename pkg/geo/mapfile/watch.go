package mapfile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// pollEvery is how often Watch looks at the files.
const pollEvery = 2 * time.Second

// Watch checks the files of f every two seconds until ctx ends. When one was replaced or written, and has stayed as it is for one such
// interval, all are read anew. What they hold goes to onNew, with what changed. It goes to onErr instead, and what was before stays in
// use, if a file cannot be read, or if it shrinks or grows too much: see Change.Shrinks and Grows. nil goes there when, after an error,
// the files are as those in use again. Each is told once for each change. Renaming a complete file over the old one is the safe way to
// change it. Both functions are called from the calling goroutine.
func Watch(ctx context.Context, f *Files, onNew func(*Files, Change), onErr func(error)) {
	w := newWatcher(f, onNew, onErr)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.poll()
		}
	}
}

// watcher holds what is in use, and the files that it is of.
type watcher struct {
	files  *Files
	seen   stamp.Set
	onNew  func(*Files, Change)
	onErr  func(error)
	failed bool // onErr was told of an error last
}

func newWatcher(f *Files, onNew func(*Files, Change), onErr func(error)) *watcher {
	w := &watcher{files: f, onNew: onNew, onErr: onErr, failed: f.instead}
	var names []string
	for _, i := range f.infos {
		names = append(names, i.File)
	}
	w.seen = stamp.NewSet(names, f.seen)
	return w
}

func (w *watcher) poll() {
	if !w.seen.Changed() {
		return
	}
	next, err := Open(w.seen.Names...)
	if err == nil {
		w.seen.Opened(next.seen)
		err = w.take(next)
	}
	if w.failed = err != nil; w.failed {
		w.onErr(err)
	}
}

// take hands on what was read, unless it is what there was, or shrinks.
func (w *watcher) take(next *Files) error {
	if w.files.same(next) {
		if w.failed {
			w.onErr(nil)
		}
		return nil
	}
	change := next.Since(w.files)
	if err := cmp.Or(change.Shrinks(), change.Grows()); err != nil {
		return fmt.Errorf("map file %s: %w: if that is meant, restart gtmd", strings.Join(w.seen.Names, ", "), err)
	}
	w.files = next
	w.onNew(next, change)
	return nil
}

// same reports whether files hold the same, byte for byte.
func (f *Files) same(g *Files) bool {
	return slices.EqualFunc(f.infos, g.infos, func(a, b Info) bool { return a.SHA256 == b.SHA256 })
}
