package zone

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds what is told of one master file, of each sort: errors and warnings.
const maxProblems = 100

// found gathers problems, and counts those that are too many to be told.
type found struct {
	list Problems
	more int
	rest bool // the search ended early: there may be more
}

func (f *found) add(p Problem) {
	if len(f.list) == maxProblems {
		f.more++
		return
	}
	f.list = append(f.list, p)
}

// addf is add, which makes no text where it is not told.
func (f *found) addf(file string, line int, format string, args ...any) {
	if f.full() {
		f.more++
		return
	}
	f.list = append(f.list, Problem{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (f *found) full() bool { return len(f.list) == maxProblems }

// all gives what was found in the order of the file, those of files that it includes behind, and says how much was left out.
func (f *found) all(file string) Problems {
	included := func(p Problem) string {
		if p.File == file {
			return ""
		}
		return p.File
	}
	slices.SortStableFunc(f.list, func(a, b Problem) int {
		return cmp.Or(strings.Compare(included(a), included(b)), a.Line-b.Line)
	})
	switch {
	case f.rest:
		return append(f.list, Problem{File: file, Text: "and perhaps more of these: mend them and look again"})
	case f.more > 0:
		return append(f.list, Problem{File: file, Text: fmt.Sprintf("and %d more of these", f.more)})
	}
	return f.list
}
