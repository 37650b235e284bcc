// Package script compiles and evaluates the expressions of monitors, which are CEL (https://cel.dev). Whoever plans a change compiles them,
// to tell what is wrong; probers do, to evaluate them.
package script

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
)

// Bounds of an expression: how long it may be, how deeply nested, and what it may cost, in steps as CEL counts them, a comparison being
// one. It ends with the time of its check, whatever it costs.
const (
	MaxLength  = 2 << 10
	maxDepth   = 50
	maxCost    = 100_000
	checkEvery = 100 // steps of loops between looks at the time
)

// Answer is what an expression can speak of.
type Answer struct {
	Status  int
	Headers map[string]string // by their names in lower case; of several of a name the first
	Body    string
	Time    time.Duration // from the beginning of the check to the headers
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	program  cel.Program
	readJSON bool
}

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("status", cel.IntType), cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.StringType), cel.Variable("json", cel.DynType), cel.Variable("time", cel.DurationType),
		cel.CrossTypeNumericComparisons(true), cel.ParserExpressionSizeLimit(MaxLength), cel.ParserRecursionLimit(maxDepth),
	)
})

// Compile reads an expression, which is true or false. The error says what is wrong, and where.
func Compile(text string) (*Program, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if all := issues.Errors(); len(all) > 0 {
		at, what := all[0].Location, strings.ReplaceAll(all[0].Message, " (in container '')", "")
		return nil, fmt.Errorf("line %d, column %d: %s", at.Line(), at.Column()+1, what)
	}
	if got := ast.OutputType(); !got.IsExactType(cel.BoolType) && !got.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is %s, and not true or false", got)
	}
	p := &Program{}
	for _, use := range ast.NativeRep().ReferenceMap() {
		p.readJSON = p.readJSON || use.Name == "json"
	}
	p.program, err = env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkEvery))
	return p, err
}

// What can be wrong with an answer. None quotes it.
var (
	ErrNotJSON = errors.New("the body is not JSON, or longer than 64 KiB")
	errMissing = errors.New("it speaks of something that the answer does not have; has(json.field) says whether that is there")
	errCost    = fmt.Errorf("it takes more than %d steps", maxCost)
	errWrong   = errors.New("it cannot be evaluated on this answer")
)

// Eval reports whether the expression is true of an answer, or why that cannot be said. It ends with ctx.
func (p *Program) Eval(ctx context.Context, a Answer) (bool, error) {
	vars := map[string]any{"status": a.Status, "headers": a.Headers, "body": a.Body, "time": a.Time}
	if p.readJSON {
		var value any
		if json.Unmarshal([]byte(a.Body), &value) != nil {
			return false, ErrNotJSON
		}
		vars["json"] = value
	}
	out, _, err := p.program.ContextEval(ctx, vars)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err == nil:
		is, ok := out.Value().(bool)
		if !ok {
			return false, errWrong
		}
		return is, nil
	case strings.Contains(err.Error(), "no such key"), strings.Contains(err.Error(), "no such attribute"):
		return false, errMissing
	case strings.Contains(err.Error(), "cost limit exceeded"):
		return false, errCost
	}
	return false, errWrong
}

// Cache keeps programs. The zero value works; it is safe for concurrent use.
type Cache struct {
	mu       sync.Mutex
	programs map[string]*Program
}

// maxPrograms bounds a cache. When it is full it begins anew.
const maxPrograms = 1024

// Get compiles an expression, or gives what it compiled before.
func (c *Cache) Get(text string) (*Program, error) {
	c.mu.Lock()
	p := c.programs[text]
	c.mu.Unlock()
	if p != nil {
		return p, nil
	}
	p, err := Compile(text)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.programs == nil || len(c.programs) >= maxPrograms {
		c.programs = make(map[string]*Program)
	}
	c.programs[text] = p
	return p, nil
}
