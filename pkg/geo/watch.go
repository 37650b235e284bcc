package geo

import (
	"context"
	"time"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// pollEvery is how often Watch looks at the files.
const pollEvery = 2 * time.Second

// watched is a file and what it looked like when it was read.
type watched struct {
	file string
	seen stamp.Stamp
}

// Watch checks the files of a every two seconds until ctx ends. When one was replaced or written, and has stayed as it is for one such
// interval, all are opened anew: the new atlas goes to onNew, or the error to onErr, once for each change, and the atlas before stays in
// use. A file that merely is gone is reported to onErr too; and nil when, after an error, the files are as those in use again. Renaming a
// complete file over the old one is the safe way to change it. Both functions are called from the calling goroutine. An atlas without
// files (the built-in one) never changes.
func Watch(ctx context.Context, a *Atlas, onNew func(*Atlas), onErr func(error)) {
	w := newWatcher(a, onNew, onErr)
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

// watcher holds what the files looked like: when last opened (or refused), and at the last poll.
type watcher struct {
	atlas  *Atlas
	files  []string
	opened []stamp.Stamp
	polled []stamp.Stamp
	onNew  func(*Atlas)
	onErr  func(error)
	failed bool // onErr was told of an error last
}

func newWatcher(a *Atlas, onNew func(*Atlas), onErr func(error)) *watcher {
	w := &watcher{atlas: a, onNew: onNew, onErr: onErr, failed: a.instead}
	for _, f := range a.files {
		w.files = append(w.files, f.file)
		w.opened = append(w.opened, f.seen)
	}
	w.polled = append(w.polled, w.opened...)
	return w
}

func (w *watcher) poll() {
	changed, stable := false, true
	for i, file := range w.files {
		now := stamp.Of(file)
		changed = changed || now != w.opened[i]
		stable = stable && now == w.polled[i]
		w.polled[i] = now
	}
	if !changed || !stable {
		return
	}
	copy(w.opened, w.polled)
	next, err := Open(w.files...)
	if err != nil {
		w.failed = true
		w.onErr(err)
		return
	}
	for i, f := range next.files {
		w.opened[i] = f.seen
	}
	failed := w.failed
	w.failed = false
	if sameContent(w.atlas.infos, next.infos) {
		if failed {
			w.onErr(nil)
		}
		return
	}
	w.atlas = next
	w.onNew(next)
}

// sameContent reports whether the files were only touched.
func sameContent(a, b []Info) bool {
	for i := range a {
		if a[i].SHA256 != b[i].SHA256 {
			return false
		}
	}
	return len(a) == len(b)
}
