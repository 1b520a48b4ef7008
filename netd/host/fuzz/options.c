/* What both fuzzers ask of AddressSanitizer: bytes that were freed are watched for the length of an input, no longer. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
	return "quarantine_size_mb=1";
}
