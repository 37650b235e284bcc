// Package files reads declared resources from YAML files, the way people name them: files, folders, or standard input.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
)

// Stdin is the path that means standard input.
const Stdin = "-"

// maxFile bounds one file, in bytes.
const maxFile = 256 << 20

// Bounds of a folder.
const (
	maxDepth = 16      // folders in one another
	maxFiles = 100_000 // *.yaml and *.yml files
)

// Load reads the resources of files, of folders (their *.yaml and *.yml, and those of the folders inside; what begins with a dot is
// left out), and of stdin for the path "-". The master file that a zone names is read too, relative to the file that
// declares the zone, and is checked:
// the zone then has Content and no File. Every fault of every file is in the error, which then is a spec.Errors.
func Load(paths []string, stdin io.Reader) ([]*spec.Resource, error) {
	var all []*spec.Resource
	var faults spec.Errors
	for _, path := range paths {
		names, err := expand(path)
		if err != nil {
			faults = append(faults, fault(path, err))
			continue
		}
		for _, name := range names {
			resources, errs := loadFile(name, stdin)
			all = append(all, resources...)
			faults = append(faults, errs...)
		}
	}
	faults = append(faults, duplicates(all)...)
	if len(faults) > 0 {
		return nil, append(faults, others(all, faults)...)
	}
	return all, nil
}

// others gives what is wrong with those resources by themselves that no fault was found in yet. What they are together is not to be
// told while some are not as they are meant.
func others(all []*spec.Resource, known spec.Errors) (faults spec.Errors) {
	reported := map[string]bool{}
	for _, f := range known {
		reported[f.Resource] = true
	}
	for _, r := range all {
		if more, ok := spec.Validate(r).(spec.Errors); ok && !reported[r.Key.String()] {
			faults = append(faults, more...)
		}
	}
	return faults
}

// expand gives the files that a path stands for.
func expand(path string) ([]string, error) {
	if path == Stdin {
		return []string{Stdin}, nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var names []string
	if err := walk(path, 0, &names); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("the folder has no *.yaml or *.yml file")
	}
	return names, nil
}

// walk adds the YAML files of a folder and of those inside. A link to a folder is refused, since what is not read must not be taken
// for read, and links can go round; links to files are files.
func walk(folder string, depth int, names *[]string) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is more than %d folders deep", folder, maxDepth)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path, ext := filepath.Join(folder, entry.Name()), filepath.Ext(entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."): // as of git, and what Kubernetes has beside the files of a ConfigMap
		case entry.IsDir():
			if err := walk(path, depth+1, names); err != nil {
				return err
			}
		case entry.Type()&fs.ModeSymlink != 0 && isFolder(path):
			return fmt.Errorf("%s is a link to a folder, which is not followed: name the folder itself too", path)
		case ext != ".yaml" && ext != ".yml":
		case len(*names) == maxFiles:
			return fmt.Errorf("there are more than %d files", maxFiles)
		default:
			*names = append(*names, path)
		}
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func loadFile(name string, stdin io.Reader) ([]*spec.Resource, spec.Errors) {
	shown := name
	var data []byte
	var err error
	if name == Stdin {
		shown = "(stdin)"
		data, err = readAll(shown, stdin)
	} else {
		data, err = read(name)
	}
	if err != nil {
		return nil, spec.Errors{fault(shown, err)}
	}
	resources, err := spec.Decode(shown, data)
	faults := asErrors(shown, err)
	resources, err = spec.ResolveFiles(resources, readBeside)
	faults = append(faults, asErrors(shown, err)...)
	for _, r := range resources {
		if z, ok := r.Spec.(*spec.Zone); ok && z.Content != "" {
			faults = append(faults, checkZone(r, z)...)
		}
	}
	return resources, faults
}

// read reads a file without ever reading more than is allowed.
func read(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(name, file)
}

// readBeside reads a file of a folder or of those below, and no other: who declares a zone is not always who may read all else here.
func readBeside(folder, name string) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	var path *fs.PathError
	switch {
	case !filepath.IsLocal(name), errors.As(err, &path) && path.Err.Error() == "path escapes from parent":
		return nil, fmt.Errorf("%q leads out of the folder %s: put the master file beside the file that names it, or below", name, folder)
	case path != nil:
		return nil, fmt.Errorf("%q: %w", name, path.Err)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is a folder, or no file at all", name)
	}
	file, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(name, file)
}

func readAll(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB, the most that one file may have: cut it, a zone by delegating a part of "+
			"its names", name, maxFile>>20)
	}
	return data, err
}

// checkZone checks a zone's content and takes away the name of its file, which means nothing elsewhere. What the file
// includes is put in its place.
func checkZone(r *spec.Resource, z *spec.Zone) spec.Errors {
	shown := z.File
	if shown != "" {
		shown = filepath.Join(filepath.Dir(r.Origin.File), shown)
	}
	z.File = ""
	whole, sources, err := include(r.Name, shown, z.Content)
	if err != nil {
		return zoneFaults(r, shown, err)
	}
	_, _, err = zone.Canonical(r.Name, shown, whole, zone.Defaults{Nameservers: z.Nameservers, Contact: z.Contact})
	err = traced(err, sources, filepath.Dir(shown))
	z.Content = whole
	return zoneFaults(r, shown, err)
}

// include puts in place what a master file includes, from its own folder and those below.
func include(origin, file, content string) (string, *zone.Sources, error) {
	if file == "" || !strings.Contains(content, "$INCLUDE") {
		return content, nil, nil
	}
	folder, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return "", nil, err
	}
	defer folder.Close()
	whole, sources, err := zone.Expand(origin, filepath.Base(file), content, folder.FS())
	var problems zone.Problems
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].File = filepath.Join(filepath.Dir(file), problems[i].File)
		}
	}
	return whole, sources, err
}

// traced gives the problems of an expanded text, which nobody has seen, the files and lines that its lines come from.
func traced(err error, sources *zone.Sources, folder string) error {
	var problems zone.Problems
	if sources == nil || !errors.As(err, &problems) {
		return err
	}
	problems = slices.Clone(problems)
	for i, p := range problems {
		file, line := sources.Of(p.Line)
		if problems[i].Line = line; line > 0 {
			problems[i].File = filepath.Join(folder, file)
		}
	}
	return problems
}

// zoneFaults tells what is wrong with a master file by its own lines, or, where it stands in the YAML, by that field's.
func zoneFaults(r *spec.Resource, masterFile string, err error) spec.Errors {
	if err == nil {
		return nil
	}
	var problems zone.Problems
	if !errors.As(err, &problems) {
		problems = zone.Problems{{File: masterFile, Text: err.Error()}}
	}
	faults := make(spec.Errors, 0, len(problems))
	for _, p := range problems {
		f := &spec.Error{File: p.File, Line: p.Line, Resource: r.Key.String(), Msg: p.Text}
		if masterFile == "" {
			f.File, f.Field = r.Origin.File, "spec.content"
			line, known := r.Origin.LineIn(f.Field, p.Line)
			if !known {
				if line = r.Origin.LineOf(f.Field); p.Line > 0 {
					f.Msg = fmt.Sprintf("line %d of the text: %s", p.Line, p.Text)
				}
			}
			f.Line = line
		}
		faults = append(faults, f)
	}
	return faults
}

func fault(file string, err error) *spec.Error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &spec.Error{File: file, Msg: err.Error()}
}

func asErrors(file string, err error) spec.Errors {
	var faults spec.Errors
	if err != nil && !errors.As(err, &faults) {
		faults = spec.Errors{fault(file, err)}
	}
	return faults
}

// duplicates are faults of the whole: one file's are found by spec.Decode.
func duplicates(all []*spec.Resource) spec.Errors {
	var faults spec.Errors
	first := make(map[spec.Key]*spec.Resource, len(all))
	for _, r := range all {
		before := first[r.Key]
		switch {
		case before == nil:
			first[r.Key] = r
		case before.Origin.File != r.Origin.File:
			faults = append(faults, &spec.Error{File: r.Origin.File, Line: r.Origin.Line, Resource: r.Key.String(),
				Msg: "is declared twice", Hint: fmt.Sprintf("first at %s:%d", before.Origin.File, before.Origin.Line)})
		}
	}
	return slices.Clip(faults)
}
