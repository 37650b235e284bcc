package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Where gtmd is looked for without --server and --data.
const (
	defaultServer = "http://127.0.0.1:8053"
	defaultData   = "data"
)

// files of a data folder that gtmctl reads.
const (
	tokenFile   = "token"
	addressFile = "api" // gtmd keeps there the URL of its API
)

// maxToken and maxAddress bound what is read of them, in bytes.
const (
	maxToken   = 4096
	maxAddress = 4096
)

// find decides on server and token where no flag and no variable names them: gtmd leaves both in its data folder. The address there is
// taken only with the token from there, or where the folder was named: what lies about in the present folder must not say
// where a token of somewhere else is sent.
func (a *app) find() error {
	if !a.found {
		a.found, a.findErr = true, a.findIn()
	}
	return a.findErr
}

func (a *app) findIn() error {
	folder, named := a.data, a.data != ""
	if !named {
		folder = defaultData
	}
	own := a.tokenFile == ""
	if own {
		a.tokenFile = filepath.Join(folder, tokenFile)
	}
	if a.server != "" {
		return nil
	}
	a.server = defaultServer
	if !own && !named {
		return nil
	}
	address, err := readSmall(filepath.Join(folder, addressFile), maxAddress)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot read where the API is: %w; pass --server", err)
	}
	a.server = strings.TrimSpace(address)
	return nil
}

// readToken reads the token, and says what is wrong with a file that cannot hold one.
func readToken(path string) (string, error) {
	text, err := readSmall(path, maxToken)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the API's token: %w; gtmd keeps it in the file token of its data folder: pass --data or "+
			"--token-file, or set GTM_DATA or GTM_TOKEN_FILE", err)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the API's token: %w; pass the right file with --token-file", err)
	}
	token := strings.TrimSpace(text)
	switch {
	case token == "":
		return "", fmt.Errorf("%s holds no token: it is empty; pass the file token of gtmd's data folder with --token-file", path)
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", fmt.Errorf("%s holds no token: that is one word on one line; pass the file token of gtmd's data folder with "+
			"--token-file",
			path)
	}
	return token, nil
}

func readSmall(path string, most int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", path, most)
	}
	return string(data), err
}
