package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// screen writes text that others made (reasons, messages, names, zone content, errors) so that no terminal obeys it: control
// and formatting characters, ESC and those that turn the direction of writing among them, become escapes as in \u202e. They are
// those of JSON and of double-quoted YAML, so that these read back to the same. Only our own colours pass: see paint.
type screen struct {
	raw  io.Writer
	part []byte // of a character whose rest is to come
}

// colour begins each colour that paint makes. Nobody else can know it.
var colour = func() string {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		panic("gtmctl: no randomness: " + err.Error()) // it does not come about (crypto/rand.Read)
	}
	return fmt.Sprintf("\x1b[0;%d;", n)
}()

// Write gives len(b) where all of it was written or waits for the rest of a character.
func (s *screen) Write(b []byte) (int, error) {
	text := append(s.part, b...)
	s.part = nil
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if tail := text[len(text)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				s.part, text = append([]byte(nil), tail...), text[:len(text)-i]
			}
			break
		}
	}
	if _, err := io.WriteString(s.raw, escaped(string(text))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// end writes what waits for a rest that did not come.
func (s *screen) end() {
	_, _ = io.WriteString(s.raw, escaped(string(s.part))) // there is nowhere to say it
	s.part = nil
}

func escaped(text string) string {
	if !strings.ContainsFunc(text, unsafe) {
		return text
	}
	var b strings.Builder
	for text != "" {
		if rest, ours := strings.CutPrefix(text, colour); ours {
			b.WriteString("\x1b[")
			text = rest
			continue
		}
		c, n := utf8.DecodeRuneInString(text)
		switch {
		case c == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case !unsafe(c):
			b.WriteRune(c)
		case c > 0xFFFF:
			fmt.Fprintf(&b, `\U%08x`, c)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
		text = text[n:]
	}
	return b.String()
}

// escapedJSON is escaped for JSON, which writes what does not fit into four digits as two halves.
func escapedJSON(text string) string {
	if !strings.ContainsFunc(text, unsafe) {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		if high, low := utf16.EncodeRune(c); unsafe(c) && high != utf8.RuneError {
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		} else if unsafe(c) {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// unsafe tells what a terminal may obey rather than show. Invalid bytes are: some take 0x9b for ESC and [.
func unsafe(c rune) bool {
	return c != '\n' && c != '\t' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || c == utf8.RuneError
}

// line keeps a text of others on the line on which it stands, so that it cannot pass for another one of ours.
func line(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(text)
}

// lines is a text of ours of several lines.
type lines string

// busy shows on a terminal what is being done and for how long, until the function that it gives is called.
func (a *app) busy(what string) (end func()) {
	if !isTerminal(a.err) {
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(a.terminal()), progressbar.OptionSetDescription(escaped(line(what))),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish())
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond) // what is over sooner is not shown
		defer tick.Stop()
		for {
			select {
			case <-stop:
				_ = bar.Finish() // a terminal that is gone is no reason to stop
				return
			case <-tick.C:
				_ = bar.Add(1)
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// terminal gives what bars are drawn on, with sequences of their own.
func (a *app) terminal() io.Writer {
	if s, ok := a.err.(*screen); ok {
		return s.raw
	}
	return a.err
}
