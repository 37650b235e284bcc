package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// screened writes text so that no terminal obeys it: what others chose (authors, messages, host names, errors) comes into logs. Control
// and formatting characters become \uXXXX, in two halves where they need more digits, so that JSON reads back as it was.
// encoding/json alone leaves DEL, C1 (one of which is ESC and [) and those that turn the direction of writing.
type screened struct{ raw io.Writer }

// Write gives len(text) if all was written. Each text is of whole characters.
func (s screened) Write(text []byte) (int, error) {
	if _, err := io.WriteString(s.raw, screenedText(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

func screenedText(text string) string {
	if strings.IndexFunc(text, obeyed) < 0 {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		high, low := utf16.EncodeRune(c)
		switch {
		case !obeyed(c):
			b.WriteRune(c)
		case high != utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// obeyed reports whether a terminal may obey a character. Bytes that are none are taken for one: 0x9b alone is ESC and [ to some.
func obeyed(c rune) bool {
	return c != '\n' && c != '\t' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || c == utf8.RuneError
}
