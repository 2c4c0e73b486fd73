// A judge of certificates by their CRL, with Go's standard library alone:
//
//	crl LEAF ISSUER CRL SECONDS
//
// Files are DER. It ends with 0 if the leaf is good at that moment, with 1 if it is revoked, and with 2 if that cannot be told.
package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 5 {
		fail("wants LEAF ISSUER CRL SECONDS")
	}
	leaf, err := x509.ParseCertificate(read(os.Args[1]))
	check("leaf", err)
	issuer, err := x509.ParseCertificate(read(os.Args[2]))
	check("issuer", err)
	check("signature of the leaf", leaf.CheckSignatureFrom(issuer))
	crl, err := x509.ParseRevocationList(read(os.Args[3]))
	check("CRL", err)
	check("signature of the CRL", crl.CheckSignatureFrom(issuer))
	seconds, err := strconv.ParseInt(os.Args[4], 10, 64)
	check("moment", err)
	now := time.Unix(seconds, 0)
	if now.Before(crl.ThisUpdate) || now.After(crl.NextUpdate) {
		fail("the CRL does not hold now")
	}
	for _, revoked := range crl.RevokedCertificates {
		if revoked.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			fmt.Println("revoked")
			os.Exit(1)
		}
	}
	fmt.Println("good")
}

func read(path string) []byte {
	content, err := os.ReadFile(path)
	check(path, err)
	return content
}

func check(what string, err error) {
	if err != nil {
		fail(what + ": " + err.Error())
	}
}

func fail(sentence string) {
	fmt.Fprintln(os.Stderr, sentence)
	os.Exit(2)
}
