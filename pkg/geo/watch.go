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

// Source is what files are of.
type Source int

// The sources of an atlas.
const (
	Geography Source = iota
	LatencySource
)

// String gives the word for a source.
func (s Source) String() string { return [...]string{"geography", "latency"}[s] }

// Watch checks the files of a every two seconds until ctx ends, those of geography and that of latency apart. When one was replaced or
// written, and has stayed as it is for one such interval, all of its source are opened anew: the new atlas goes to onNew, or the error to
// onErr, once for each change, and what was before stays in use. A file that merely is gone is reported to onErr too; and nil when, after
// an error, the files are as those in use again. Renaming a complete file over the old one is the safe way to change it. Both functions
// are called from the calling goroutine. An atlas without files (the built-in one) never changes.
func Watch(ctx context.Context, a *Atlas, onNew func(Source, *Atlas), onErr func(Source, error)) {
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

// watcher holds the atlas in use, and the files of its sources.
type watcher struct {
	atlas   *Atlas
	sources [2]watchedFiles
	onNew   func(Source, *Atlas)
	onErr   func(Source, error)
}

// watchedFiles are the files of a source.
type watchedFiles struct {
	stamp.Set
	failed bool // onErr was told of an error last
}

func newWatcher(a *Atlas, onNew func(Source, *Atlas), onErr func(Source, error)) *watcher {
	w := &watcher{atlas: a, onNew: onNew, onErr: onErr}
	w.sources[Geography] = newWatchedFiles(a.files, a.instead)
	if t := a.table; t != nil && t.file.file != "" {
		w.sources[LatencySource] = newWatchedFiles([]watched{t.file}, t.instead)
	}
	return w
}

func newWatchedFiles(list []watched, failed bool) watchedFiles {
	var names []string
	for _, f := range list {
		names = append(names, f.file)
	}
	return watchedFiles{stamp.NewSet(names, stamps(list)), failed}
}

// stamps are what files looked like.
func stamps(list []watched) (seen []stamp.Stamp) {
	for _, f := range list {
		seen = append(seen, f.seen)
	}
	return seen
}

func (w *watcher) poll() {
	for s := range w.sources {
		if w.sources[s].Changed() {
			w.reopen(Source(s))
		}
	}
}

// reopen opens the files of a source anew.
func (w *watcher) reopen(s Source) {
	files := &w.sources[s]
	next, seen, err := w.next(s)
	if err != nil {
		files.failed = true
		w.onErr(s, err)
		return
	}
	files.Opened(stamps(seen))
	failed := files.failed
	files.failed = false
	if next == nil {
		if failed {
			w.onErr(s, nil)
		}
		return
	}
	w.atlas = next
	w.onNew(s, next)
}

// next gives the atlas with a source opened anew, nil if its files were only touched, and what the files looked like.
func (w *watcher) next(s Source) (*Atlas, []watched, error) {
	if s == LatencySource {
		t, err := OpenLatency(w.sources[s].Names[0])
		switch {
		case err != nil:
			return nil, nil, err
		case t.info.SHA256 == w.atlas.table.info.SHA256:
			return nil, []watched{t.file}, nil
		}
		return w.atlas.WithLatency(t), []watched{t.file}, nil
	}
	a, err := Open(w.sources[s].Names...)
	switch {
	case err != nil:
		return nil, nil, err
	case sameContent(w.atlas.infos, a.infos):
		return nil, a.files, nil
	}
	return a.WithLatency(w.atlas.table), a.files, nil
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
