/* Scans the JSON of records straight into columns, as far as they are plain.

   Plain is what nearly every sender writes: one flat object, each declared field once and of its type, text without
   escapes, no number or time that needs more than a few exact operations. Of any other record this says only that it
   is not plain; decode.py reads it, and says what is wrong with it, if anything is. So nothing here decides about a
   record, and every doubt is resolved by giving up. The grammar is that of RFC 8259, times are those of RFC 3339. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define KNOWN_AT_MOST 64 /* other keys that a record may have, and fields that it may have in another order */
#define NONE (-1)
#define NOTHING 0 /* as in scan.py; it is in no plain text */

enum { NUMBER, BOOLEAN, STRING, TIME, UNKNOWN }; /* as in scan.py */

typedef struct {
    int64_t fields, texts;    /* texts: the fields of that kind */
    const uint8_t *names;     /* one behind the other */
    const int64_t *name_ends; /* by field */
    const uint8_t *kinds, *required;
    const int64_t *columns;   /* by field: its place among the columns of text, or among those of numbers */
    int64_t others;           /* whether keys are taken that no field has */
    int64_t maximum_bytes, maximum_text_bytes;
} shape_t;

typedef struct {
    const uint8_t *at, *end;
} cursor_t;

typedef struct {
    const uint8_t *start; /* NULL where there is no text */
    int64_t size;
} text_t;

static inline void skip_space(cursor_t *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static inline int take(cursor_t *c, uint8_t wanted) {
    if (c->at == c->end || *c->at != wanted) return 0;
    c->at++;
    return 1;
}

static inline int take_word(cursor_t *c, const char *word, size_t size) {
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, word, size) != 0) return 0;
    c->at += size;
    return 1;
}

static inline int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* Whether none of eight bytes is a quotation mark, a backslash, a control character or beyond ASCII. A byte within them
   that is none may be taken for one, never the other way round. */
static inline int is_ordinary(const uint8_t *at) {
    const uint64_t ones = 0x0101010101010101, highs = ones << 7;
    uint64_t eight, quotes, slashes;
    memcpy(&eight, at, sizeof eight);
    quotes = eight ^ ones * '"';
    slashes = eight ^ ones * '\\';
    return ((eight | (eight - ones * 0x20) | (quotes - ones) | (slashes - ones)) & highs) == 0;
}

/* Text without escapes; the cursor stands behind the opening quotation mark, afterwards behind the closing one. */
static inline int take_text(cursor_t *c, const uint8_t **start, const uint8_t **stop, int ascii_only) {
    *start = c->at;
    while (c->end - c->at >= 8 && is_ordinary(c->at)) c->at += 8;
    for (; c->at < c->end; c->at++) {
        uint8_t one = *c->at;
        if (one == '"') {
            *stop = c->at++;
            return 1;
        }
        if (one < 0x20 || one == '\\' || (ascii_only && one >= 0x80)) return 0;
    }
    return 0;
}

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#if LDBL_MANT_DIG >= 64
static const long double LONG_TENS[] = {1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,  1e7L,  1e8L,  1e9L,
                                        1e10L, 1e11L, 1e12L, 1e13L, 1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L,
                                        1e20L, 1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L};
#endif

/* digits * 10 ** exponent, correctly rounded, where that is certain: by one operation on exact operands (Clinger,
   "How to read floating point numbers accurately", 1990), or by one in 64 bits whose error cannot reach the next
   float64. */
static inline int scaled(uint64_t digits, int64_t exponent, double *value) {
#if FLT_EVAL_METHOD == 0 /* operations on float64 give float64 */
    if (digits <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22) {
        *value = exponent < 0 ? (double)digits / TENS[-exponent] : (double)digits * TENS[exponent];
        return 1;
    }
#endif
#if LDBL_MANT_DIG >= 64
    if (exponent >= -27 && exponent <= 27) {
        long double near = (long double)digits, off = 1.0L / 9223372036854775808.0L; /* 2 ** -63 */
        near = exponent < 0 ? near / LONG_TENS[-exponent] : near * LONG_TENS[exponent];
        *value = (double)(near * (1.0L - off));
        return *value == (double)(near * (1.0L + off));
    }
#endif
    return 0;
}

static inline int take_number(cursor_t *c, double *value) {
    uint64_t digits = 0;
    int64_t exponent = 0;
    int count = 0, negative = take(c, '-'), whole = 1;
    const uint8_t *first = c->at;
    while (c->at < c->end && is_digit(*c->at) && count < 20) {
        digits = digits * 10 + (uint64_t)(*c->at++ - '0');
        count++;
    }
    if (count == 0 || (count > 1 && *first == '0') || count > 19) return 0;
    if (take(c, '.')) {
        const uint8_t *point = c->at;
        whole = 0;
        while (c->at < c->end && is_digit(*c->at) && count < 20) {
            digits = digits * 10 + (uint64_t)(*c->at++ - '0');
            count += digits > 0; /* zeros at the front weigh nothing */
            exponent--;
        }
        if (c->at == point || count > 19) return 0;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        int64_t power = 0, sign = 1;
        c->at++;
        whole = 0;
        if (!take(c, '+') && take(c, '-')) sign = -1;
        const uint8_t *start = c->at;
        while (c->at < c->end && is_digit(*c->at) && c->at - start < 4) power = power * 10 + (*c->at++ - '0');
        if (c->at == start || c->at - start == 4) return 0;
        exponent += sign * power;
    }
    if (negative && whole && digits == 0) return 0; /* readers differ about -0 */
    if (!scaled(digits, exponent, value)) return 0;
    if (negative) *value = -*value;
    return 1;
}

static inline int two(const uint8_t *at) {
    return is_digit(at[0]) && is_digit(at[1]) ? (at[0] - '0') * 10 + at[1] - '0' : NONE;
}

/* Days since 1970 of a day in the Gregorian calendar, the years counted from March on. */
static inline int64_t days_since_1970(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719468;
}

/* "YYYY-MM-DDThh:mm:ss", with a fraction of up to six digits or without, and "Z" or an offset; in seconds since 1970.
   The years are those for which microseconds are exact. */
static inline int take_time(const uint8_t *at, const uint8_t *stop, double *value) {
    static const int8_t LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (stop - at < 20 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':') return 0;
    int century = two(at), rest = two(at + 2), month = two(at + 5), day = two(at + 8);
    int hour = two(at + 11), minute = two(at + 14), second = two(at + 17);
    if (century < 17 || century > 21 || rest < 0 || month < 1 || month > 12 || day < 1) return 0;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
    int year = century * 100 + rest, leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > LENGTHS[month - 1] + (month == 2 && leap)) return 0;
    int64_t seconds = days_since_1970(year, month, day) * 86400 + hour * 3600 + minute * 60 + second, micros = 0;
    at += 19;
    if (*at == '.') {
        int64_t unit = 100000;
        for (at++; at < stop && is_digit(*at) && unit > 0; at++, unit /= 10) micros += unit * (*at - '0');
        if (unit == 100000) return 0;
    }
    if (stop - at == 6 && (*at == '+' || *at == '-') && at[3] == ':') {
        int hours = two(at + 1), minutes = two(at + 4);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return 0;
        seconds -= (*at == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    } else if (stop - at != 1 || *at != 'Z')
        return 0;
    if (micros == 0) {
        *value = (double)seconds;
        return 1;
    }
    micros += seconds * 1000000;
    if (!scaled((uint64_t)(micros < 0 ? -micros : micros), -6, value)) return 0;
    if (micros < 0) *value = -*value;
    return 1;
}

/* Where a scan keeps what it learns; by field. */
typedef struct {
    int64_t seen;      /* the last record that has it, counted from 1 */
    int64_t following; /* the field that came behind it */
} learnt_t;

/* Whether a field's name comes next, and its closing quotation mark. */
static inline int take_name(cursor_t *c, const shape_t *s, int64_t field) {
    int64_t start = field == 0 ? 0 : s->name_ends[field - 1], size = s->name_ends[field] - start;
    if (c->end - c->at <= size || c->at[size] != '"' || memcmp(s->names + start, c->at, (size_t)size) != 0) return 0;
    c->at += size + 1;
    return 1;
}

/* The field of a name, or NONE. */
static int64_t field_of(const shape_t *s, const uint8_t *name, int64_t size) {
    int64_t start = 0;
    for (int64_t f = 0; f < s->fields; start = s->name_ends[f++])
        if (s->name_ends[f] - start == size && memcmp(s->names + start, name, (size_t)size) == 0) return f;
    return NONE;
}

/* A value that nobody asked for. */
static inline int skip(cursor_t *c) {
    const uint8_t *start, *stop;
    double value;
    if (take(c, '"')) return take_text(c, &start, &stop, 1);
    return take_number(c, &value) || take_word(c, "null", 4) || take_word(c, "true", 4) || take_word(c, "false", 5);
}

typedef struct {
    double *numbers; /* a column of as many as there are records behind the other */
    text_t *texts;   /* the same */
    int64_t records;
} columns_t;

static inline void put_nothing(const shape_t *s, const columns_t *out, int64_t field, int64_t record) {
    int64_t place = s->columns[field] * out->records + record;
    if (s->kinds[field] == STRING)
        out->texts[place] = (text_t){NULL, 0};
    else
        out->numbers[place] = NAN;
}

static inline int take_value(cursor_t *c, const shape_t *s, const columns_t *out, int64_t field, int64_t record) {
    int64_t place = s->columns[field] * out->records + record;
    const uint8_t *start, *stop;
    if (c->at < c->end && *c->at == 'n') {
        put_nothing(s, out, field, record);
        return !s->required[field] && take_word(c, "null", 4);
    }
    switch (s->kinds[field]) {
    case NUMBER:
        return take_number(c, out->numbers + place);
    case BOOLEAN:
        out->numbers[place] = c->at < c->end && *c->at == 't';
        return take_word(c, "true", 4) || take_word(c, "false", 5);
    case TIME:
        return take(c, '"') && take_text(c, &start, &stop, 1) && take_time(start, stop, out->numbers + place);
    default:
        if (!take(c, '"') || !take_text(c, &start, &stop, 0) || stop - start > s->maximum_text_bytes) return 0;
        out->texts[place] = (text_t){start, stop - start};
        return 1;
    }
}

static inline int is_new(const text_t *others, int64_t count, const uint8_t *start, int64_t size) {
    for (int64_t i = 0; i < count; i++)
        if (others[i].size == size && memcmp(others[i].start, start, (size_t)size) == 0) return 0;
    return 1;
}

/* Whether a record is plain; then its values are in the columns. */
static int scan_one(cursor_t c, const shape_t *s, const columns_t *out, int64_t record, learnt_t *learnt) {
    text_t others[KNOWN_AT_MOST];
    int64_t found = 0, other = 0, strays = 0, last = s->fields - 1;
    skip_space(&c);
    if (!take(&c, '{')) return 0;
    do {
        const uint8_t *start = c.at, *stop = c.at;
        int64_t field = learnt[last].following; /* most likely */
        skip_space(&c);
        if (!take(&c, '"')) return 0;
        if (!take_name(&c, s, field)) {
            if (strays++ == KNOWN_AT_MOST || !take_text(&c, &start, &stop, 1)) return 0;
            field = field_of(s, start, stop - start);
        }
        skip_space(&c);
        if (!take(&c, ':')) return 0;
        skip_space(&c);
        if (field == NONE) {
            if (!s->others || other == KNOWN_AT_MOST || !is_new(others, other, start, stop - start)) return 0;
            others[other++] = (text_t){start, stop - start};
            if (!skip(&c)) return 0;
        } else {
            if (learnt[field].seen == record + 1) return 0;
            learnt[field].seen = record + 1;
            learnt[last].following = field;
            last = field;
            found++;
            if (!take_value(&c, s, out, field, record)) return 0;
        }
        skip_space(&c);
    } while (take(&c, ','));
    if (!take(&c, '}')) return 0;
    skip_space(&c);
    if (c.at != c.end) return 0;
    for (int64_t f = 0; found < s->fields && f < s->fields; f++)
        if (learnt[f].seen != record + 1) {
            if (s->required[f]) return 0;
            put_nothing(s, out, f, record);
            found++;
        }
    return 1;
}

/* Texts one behind the other, each with a line feed behind it, which is in no plain text; NOTHING for none. Returns
   where they end. */
static uint8_t *pack(const text_t *texts, const uint8_t *plain, int64_t records, uint8_t *to) {
    for (int64_t r = 0; r < records; r++) {
        if (plain[r] && texts[r].start == NULL)
            *to++ = NOTHING;
        else if (plain[r]) {
            memcpy(to, texts[r].start, (size_t)texts[r].size);
            to += texts[r].size;
        }
        *to++ = '\n';
    }
    return to;
}

/* Scans records that stand one behind the other; says of each whether it is plain. At least one field is declared.

   numbers: a column of as many as there are records behind the other. packed: the columns of text, each ending where
   packed_ends says; there is room for all bytes and for two more per record and column, a line feed and NOTHING: what is
   not there has no bytes in its record. texts, learnt: room. */
void scan(const shape_t *s, const uint8_t *bytes, const int64_t *ends, int64_t records, double *numbers,
          uint8_t *packed, int64_t *packed_ends, text_t *texts, learnt_t *learnt, uint8_t *plain) {
    columns_t out = {numbers, texts, records};
    for (int64_t f = 0; f < s->fields; f++) learnt[f] = (learnt_t){0, f + 1 < s->fields ? f + 1 : 0};
    for (int64_t r = 0; r < records; r++) {
        int64_t start = r == 0 ? 0 : ends[r - 1];
        cursor_t c = {bytes + start, bytes + ends[r]};
        plain[r] = (uint8_t)(ends[r] - start <= s->maximum_bytes && scan_one(c, s, &out, r, learnt));
    }
    uint8_t *to = packed;
    for (int64_t column = 0; column < s->texts; column++) {
        to = pack(texts + column * records, plain, records, to);
        packed_ends[column] = to - packed;
    }
}
