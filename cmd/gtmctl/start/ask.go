package start

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Person answers questions.
type Person struct {
	in  *bufio.Reader
	out io.Writer
}

// NewPerson is asked on out, and answers on in.
func NewPerson(in io.Reader, out io.Writer) *Person { return &Person{bufio.NewReader(in), out} }

// ErrSilent: there was no answer, since the input is over.
var ErrSilent = errors.New("there is nobody to answer")

// What a person may answer wrongly before they are left alone, and the most that is read of an answer.
const (
	mostTries = 5
	mostBytes = 4096
)

// Ask asks until take has no fault with the answer. An empty one is otherwise, which is shown.
func (p *Person) Ask(question, otherwise string, take func(answer string) error) error {
	for try := 1; ; try++ {
		if otherwise != "" {
			fmt.Fprintf(p.out, "%s [%s]: ", question, otherwise)
		} else {
			fmt.Fprintf(p.out, "%s: ", question)
		}
		answer, err := p.line()
		if err != nil {
			return err
		}
		if answer == "" {
			answer = otherwise
		}
		fault := take(answer)
		if fault == nil {
			return nil
		}
		fmt.Fprintf(p.out, "  %s\n", fault)
		if try == mostTries {
			return fmt.Errorf("%s: %w", question, fault)
		}
	}
}

// Sure asks whether something is to be done. Silence is no.
func (p *Person) Sure(question string) bool {
	fmt.Fprintf(p.out, "%s (yes/no)? ", question)
	answer, err := p.line()
	return err == nil && (answer == "yes" || answer == "y")
}

func (p *Person) line() (string, error) {
	var b strings.Builder
	for {
		c, err := p.in.ReadByte()
		switch {
		case err != nil && b.Len() == 0:
			fmt.Fprintln(p.out)
			return "", ErrSilent
		case err != nil || c == '\n':
			return strings.TrimSpace(b.String()), nil
		case b.Len() == mostBytes:
			return "", fmt.Errorf("that is more than %d bytes", mostBytes)
		}
		b.WriteByte(c)
	}
}
