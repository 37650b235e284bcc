package embedded

import (
	"os"
	"strings"
	"sync"
)

const (
	childLogBytes = 4 << 20
	tailLines     = 8
)

// boundedLog is a log file that starts anew at a size, keeping the one before as NAME.1, and that
// remembers its last lines. Safe for concurrent use.
type boundedLog struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File
	size int64
	tail string
}

func openBoundedLog(path string, max int64) (*boundedLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &boundedLog{path: path, max: max, file: f, size: info.Size()}, nil
}

// Write never fails: a full disk must not end the process that logs.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail += string(p)
	if len(l.tail) > 16<<10 {
		l.tail = strings.Clone(l.tail[len(l.tail)-8<<10:])
	}
	if l.size > l.max {
		l.rotate()
	}
	if l.file != nil {
		n, _ := l.file.Write(p)
		l.size += int64(n)
	}
	return len(p), nil
}

// rotate starts the file anew.
func (l *boundedLog) rotate() {
	if l.file != nil {
		l.file.Close()
	}
	_ = os.Rename(l.path, l.path+".1")
	l.file, _ = os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	l.size = 0
}

// Tail gives the last lines, or of those that tell of trouble the last, where there are any: a stack trace
// says little to people. Each is cut to a length that they read.
func (l *boundedLog) Tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all, trouble []string
	for line := range strings.Lines(l.tail) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		line = line[:min(len(line), 400)]
		all = append(all, line)
		if tellsTrouble(line) {
			trouble = append(trouble, line)
		}
	}
	if len(trouble) > 0 {
		all = trouble
	}
	return all[max(0, len(all)-tailLines):]
}

func tellsTrouble(line string) bool {
	for _, mark := range []string{"\terror\t", "\tpanic\t", "\tfatal\t", "panic: ", "fatal error: "} {
		if strings.Contains(line, mark) {
			return true
		}
	}
	return false
}

func (l *boundedLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}
