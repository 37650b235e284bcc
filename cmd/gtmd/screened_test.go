package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// hostile is what somebody may call himself, or a server answer: ESC, C1, DEL, turned writing, tags, ends of line.
var hostile = []string{"\x1b[2Jx", "\u009b31mx", "x\x7f", "x\u202ey", "\u2066x",
	"\U000e0041x", "\ufeffx", "x\u2028y", "x\ntime=now level=INFO msg=forged", "\r", "\x00\a"}

// In JSON logs, C1 characters and those that turn the direction of writing reached terminals as they were; text logs quote them.
func TestLogsObeyNobody(t *testing.T) {
	for _, form := range []string{"text", "json"} {
		for _, text := range hostile {
			var b bytes.Buffer
			logger := newLogger(form, &b, slog.LevelInfo)
			logger.With("host", text).WithGroup("of").Error(text, "author", text, "reason", errors.New(text), "list",
				[]string{text}, text, 1)
			line, rest, _ := strings.Cut(b.String(), "\n")
			if rest != "" || strings.ContainsFunc(line, func(c rune) bool { return c == '\t' || obeyed(c) }) {
				t.Errorf("%s: %q", form, b.String())
			}
			var back map[string]any
			if form == "json" && (json.Unmarshal(b.Bytes(), &back) != nil || back["msg"] != text || back["host"] != text) {
				t.Errorf("%q is logged as %s", text, b.String())
			}
		}
	}
}

// TestScreened has a plain text pass, and each byte that is no character be shown.
func TestScreened(t *testing.T) {
	for text, want := range map[string]string{"plain, Grüße, 東京 \t\n": "plain, Grüße, 東京 \t\n", "a\x9bb": `a\ufffdb`,
		"\U000e0041": `\udb40\udc41`, "\x1b": `\u001b`} {
		var b bytes.Buffer
		if n, err := (screened{&b}).Write([]byte(text)); n != len(text) || err != nil || b.String() != want {
			t.Errorf("%q: %q, %d, %v", text, b.String(), n, err)
		}
	}
	if n, err := (screened{full{}}).Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("a full disk: %d, %v", n, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }
