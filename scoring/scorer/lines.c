/* Writes predictions: columns of JSON tokens, a line each, are woven together with the text between them. What each
   function does is said, and done without it, in scoring/worker/json_columns.py and scoring/worker/weave.py. */

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Record by record: texts[0], a line of columns[0], texts[1], ... and the last text, which no column follows. Returns 0,
   or -1 where a column has not exactly as many lines as there are records. The output has room for all of it. */
int64_t weave(int64_t columns, const uint8_t *const *texts, const int64_t *text_sizes, const uint8_t *const *lines,
              const int64_t *line_sizes, int64_t records, const uint8_t **at, uint8_t *out, int64_t *ends) {
    uint8_t *to = out;
    for (int64_t c = 0; c < columns; c++) at[c] = lines[c];
    for (int64_t r = 0; r < records; r++) {
        for (int64_t c = 0; c < columns; c++) {
            memcpy(to, texts[c], (size_t)text_sizes[c]);
            to += text_sizes[c];
            size_t left = (size_t)(lines[c] + line_sizes[c] - at[c]);
            const uint8_t *stop = left == 0 ? NULL : memchr(at[c], '\n', left);
            if (stop == NULL) return -1;
            memcpy(to, at[c], (size_t)(stop - at[c]));
            to += stop - at[c];
            at[c] = stop + 1;
        }
        memcpy(to, texts[columns], (size_t)text_sizes[columns]);
        to += text_sizes[columns];
        ends[r] = to - out;
    }
    for (int64_t c = 0; c < columns; c++)
        if (at[c] != lines[c] + line_sizes[c]) return -1;
    return 0;
}

static inline uint8_t *put_digits(uint8_t *to, int64_t number, int digits) {
    for (int d = digits - 1; d >= 0; d--, number /= 10) to[d] = (uint8_t)('0' + number % 10);
    return to + digits;
}

/* The day of the Gregorian calendar, counted from 1970; the years are counted from March on meanwhile. */
static inline uint8_t *put_day(uint8_t *to, int64_t days) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    to = put_digits(to, year + era * 400 + (month <= 2), 4);
    *to++ = '-';
    to = put_digits(to, month, 2);
    *to++ = '-';
    return put_digits(to, day, 2);
}

#define EARLIEST -62135596800.0 /* the year 1 */
#define END 253402300800.0      /* the year 10000 */

/* Seconds since 1970 as quoted RFC 3339 in UTC, to the microsecond, a line each; null for NaN. Returns how many bytes that
   are, at most 30 a line, or -1 where a year is not one from 1 to 9999. */
int64_t write_times(const double *seconds, int64_t records, uint8_t *out) {
    uint8_t *to = out;
    for (int64_t r = 0; r < records; r++) {
        if (seconds[r] != seconds[r]) {
            memcpy(to, "null\n", 5);
            to += 5;
            continue;
        }
        if (!(seconds[r] >= EARLIEST && seconds[r] < END)) return -1;
        double whole = trunc(seconds[r]);
        int64_t second = (int64_t)whole, micros = (int64_t)rint((seconds[r] - whole) * 1e6); /* half to even */
        int64_t carry = micros / 1000000 - (micros % 1000000 < 0);
        second += carry;
        micros -= carry * 1000000;
        int64_t days = second / 86400 - (second % 86400 < 0), clock = second - days * 86400;
        *to++ = '"';
        to = put_day(to, days);
        *to++ = 'T';
        to = put_digits(to, clock / 3600, 2);
        *to++ = ':';
        to = put_digits(to, clock / 60 % 60, 2);
        *to++ = ':';
        to = put_digits(to, clock % 60, 2);
        if (micros != 0) {
            *to++ = '.';
            to = put_digits(to, micros, 6);
        }
        memcpy(to, "Z\"\n", 3);
        to += 3;
    }
    return to - out;
}
