package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
)

// A file of JSON lines, each on disk before it counts.
type journal struct {
	file *os.File
	lock sync.Mutex
}

// Reads what whole lines there are, and goes on after them.
func openJournal[T any](folder, name string, read func(T)) *journal {
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	var end int64
	lines := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var entry T
		if json.Unmarshal(line, &entry) != nil {
			break
		}
		read(entry)
		end += int64(len(line))
	}
	file.Truncate(end)
	file.Seek(end, 0)
	return &journal{file: file}
}

func (j *journal) write(entry any) error {
	line, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	j.lock.Lock()
	defer j.lock.Unlock()
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	// A killed process loses nothing that was written.
	return nil
}
