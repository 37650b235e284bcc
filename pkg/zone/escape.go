package zone

// eachBadEscape calls f with the line of each backslash with a digit behind it that is not followed by three digits up to 255
// (RFC 1035, 5.1), which the parser would take as two characters, until f returns false.
func eachBadEscape(content string, f func(line int) bool) {
	line := 1
	quoted, comment := false, false
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case c == '\n':
			line++
			comment = false
		case comment:
		case c == '"':
			quoted = !quoted
		case c == ';':
			comment = !quoted
		case c == '\\' && i+1 < len(content) && digit(content[i+1]):
			switch {
			case decimal(content[i+1:]):
				i += 3
			case !f(line):
				return
			}
		case c == '\\' && i+1 < len(content) && content[i+1] != '\n':
			i++
		}
	}
}

func escapeProblem(file string, line int) Problem {
	return Problem{File: file, Line: line, Text: `a backslash with a digit needs three of them, up to \255 (RFC 1035, 5.1)`}
}

// decimal reports whether s begins with three digits up to 255.
func decimal(s string) bool {
	return len(s) >= 3 && digit(s[1]) && digit(s[2]) && s[:3] <= "255"
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
