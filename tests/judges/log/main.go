// Command log judges a published decision log with the packages that Go's checksum database is verified with:
// golang.org/x/mod/sumdb/note and golang.org/x/mod/sumdb/tlog. Nothing of this repository is used.
//
//	log DIRECTORY VERIFIER-KEY [EARLIER-CHECKPOINT]
//
// It exits with 0 if the checkpoint is signed, the entries give its root, every hash tile is that of the entries,
// records can be proven from the tiles, and the log continues the earlier checkpoint.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = 8
	width  = 1 << height
	// Every so many entries one is proven through the tiles.
	provenEvery = 61
)

func main() {
	if len(os.Args) != 3 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: log DIRECTORY VERIFIER-KEY [EARLIER-CHECKPOINT]")
		os.Exit(2)
	}
	size, err := judge(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rejected:", err)
		os.Exit(1)
	}
	fmt.Printf("accepted: %d entries\n", size)
}

func judge(directory, key string, earlier []string) (int64, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return 0, err
	}
	head, err := open(filepath.Join(directory, "checkpoint"), verifier)
	if err != nil {
		return 0, err
	}
	hashes, err := fromEntries(directory, head.N)
	if err != nil {
		return 0, err
	}
	root, err := tlog.TreeHash(head.N, hashes)
	if err != nil {
		return 0, err
	}
	if root != head.Hash {
		return 0, fmt.Errorf("the entries have the root %v, and %v is signed", root, head.Hash)
	}
	if err := compareTiles(directory, head, hashes); err != nil {
		return 0, err
	}
	if err := proveRecords(directory, head, hashes); err != nil {
		return 0, err
	}
	for _, path := range earlier {
		if err := continues(directory, path, verifier, head); err != nil {
			return 0, err
		}
	}
	return head.N, nil
}

// open verifies a checkpoint and reads it.
func open(path string, verifier note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("%s is no checkpoint of %s", path, verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, fmt.Errorf("%s has no root", path)
	}
	tree := tlog.Tree{N: size}
	copy(tree.Hash[:], root)
	return tree, nil
}

// stored are the hashes of a tree as package tlog numbers them.
type stored []tlog.Hash

func (hashes stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	read := make([]tlog.Hash, len(indexes))
	for position, index := range indexes {
		if index >= int64(len(hashes)) {
			return nil, fmt.Errorf("there is no hash %d", index)
		}
		read[position] = hashes[index]
	}
	return read, nil
}

// fromEntries hashes every entry of the log.
func fromEntries(directory string, size int64) (stored, error) {
	var hashes stored
	for first := int64(0); first < size; first += width {
		tile := tlog.Tile{H: height, L: -1, N: first / width, W: int(least(width, size-first))}
		bundle, err := read(directory, tile)
		if err != nil {
			return nil, err
		}
		for number := first; number < first+int64(tile.W); number++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("%s ends before entry %d does", path(tile), number)
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			more, err := tlog.StoredHashes(number, bundle[2:end], hashes)
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, more...)
			bundle = bundle[end:]
		}
		if len(bundle) != 0 {
			return nil, fmt.Errorf("%s has more entries than %d", path(tile), tile.W)
		}
	}
	return hashes, nil
}

// compareTiles compares every hash tile with what the entries give.
func compareTiles(directory string, head tlog.Tree, hashes stored) error {
	tiles := tlog.NewTiles(height, 0, head.N)
	for position, tile := range tiles {
		// Older versions of the package list every width of a partial tile; only the last is of this size.
		if next := position + 1; next < len(tiles) && tiles[next].L == tile.L && tiles[next].N == tile.N {
			continue
		}
		wanted, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		found, err := read(directory, tile)
		if err != nil {
			return err
		}
		if !bytes.Equal(wanted, found) {
			return fmt.Errorf("%s is not the tile of the entries", path(tile))
		}
	}
	return nil
}

// proveRecords proves entries from the tiles alone, which package tlog authenticates against the root.
func proveRecords(directory string, head tlog.Tree, hashes stored) error {
	reader := tlog.TileHashReader(head, tiles(directory))
	for number := int64(0); number < head.N; number += provenEvery {
		proof, err := tlog.ProveRecord(head.N, number, reader)
		if err != nil {
			return err
		}
		leaf := hashes[tlog.StoredHashIndex(0, number)]
		if err := tlog.CheckRecord(proof, head.N, head.Hash, number, leaf); err != nil {
			return err
		}
	}
	return nil
}

// continues proves that the log is a continuation of an earlier checkpoint.
func continues(directory, earlier string, verifier note.Verifier, head tlog.Tree) error {
	old, err := open(earlier, verifier)
	if err != nil {
		return err
	}
	if old.N > head.N {
		return fmt.Errorf("the log had %d entries and has %d", old.N, head.N)
	}
	proof, err := tlog.ProveTree(head.N, old.N, tlog.TileHashReader(head, tiles(directory)))
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, head.N, head.Hash, old.N, old.Hash)
}

// tiles are the hash tiles in a directory.
type tiles string

func (directory tiles) Height() int { return height }

func (directory tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (directory tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		data, err := read(string(directory), tile)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// read reads a file; a full one stands in for a partial hash tile that is gone.
func read(directory string, tile tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(directory, path(tile)))
	if os.IsNotExist(err) && tile.W < width && tile.L >= 0 {
		full := tile
		full.W = width
		data, err = os.ReadFile(filepath.Join(directory, path(full)))
		if err == nil {
			data = data[:tile.W*tlog.HashSize]
		}
	}
	return data, err
}

// path is where C2SP tlog-tiles puts a tile; level -1 has the entries.
func path(tile tlog.Tile) string {
	level := "entries"
	if tile.L >= 0 {
		level = strconv.Itoa(tile.L)
	}
	index := fmt.Sprintf("%03d", tile.N%1000)
	for rest := tile.N / 1000; rest > 0; rest /= 1000 {
		index = fmt.Sprintf("x%03d/%s", rest%1000, index)
	}
	if tile.W < width {
		index += fmt.Sprintf(".p/%d", tile.W)
	}
	return "tile/" + level + "/" + index
}

func least(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
