/**
 * The instruction table: one row is [first opcode, stack signature, names], names numbered upwards from the first
 * opcode, `_` leaving a gap; one that begins with a dot belongs to the space of the one before it, as pages download the
 * table. Methods and their types (see expr.ts) are generated from these rows.
 *
 * A signature reads "operands -> result". Words that are not value types are immediates:
 *   addr   an i32 operand, and a constant byte offset as the last, optional argument
 *   lane   a lane index          bytes  16 literal bytes
 *   zero   a fixed zero byte of the encoding (no argument)
 * Source: WebAssembly core specification, appendix "Index of Instructions", and the threads proposal.
 */
export const instructionRows = [
  // memory, scalar
  [0x28, "addr -> i32", "i32.load _ _ _ .load8_s .load8_u .load16_s .load16_u"],
  [0x29, "addr -> i64", "i64.load"],
  [0x2a, "addr -> f32", "f32.load"],
  [0x2b, "addr -> f64", "f64.load"],
  [0x30, "addr -> i64", "i64.load8_s .load8_u .load16_s .load16_u .load32_s .load32_u"],
  [0x36, "addr i32 -> void", "i32.store _ _ _ .store8 .store16"],
  [0x37, "addr i64 -> void", "i64.store _ _ _ _ .store8 .store16 .store32"],
  [0x38, "addr f32 -> void", "f32.store"],
  [0x39, "addr f64 -> void", "f64.store"],
  [0x3f, "zero -> i32", "memory.size"],
  [0x40, "i32 zero -> i32", "memory.grow"],
  [0xfc0a, "i32 i32 i32 zero zero -> void", "memory.copy"],
  [0xfc0b, "i32 i32 i32 zero -> void", "memory.fill"],
  // integers
  [0x45, "i32 -> i32", "i32.eqz"],
  [0x46, "i32 i32 -> i32", "i32.eq .ne .lt_s .lt_u .gt_s .gt_u .le_s .le_u .ge_s .ge_u"],
  [0x50, "i64 -> i32", "i64.eqz"],
  [0x51, "i64 i64 -> i32", "i64.eq .ne .lt_s .lt_u .gt_s .gt_u .le_s .le_u .ge_s .ge_u"],
  [0x67, "i32 -> i32", "i32.clz .ctz .popcnt"],
  [0x6a, "i32 i32 -> i32", "i32.add .sub .mul .div_s .div_u .rem_s .rem_u .and .or .xor"],
  [0x74, "i32 i32 -> i32", "i32.shl .shr_s .shr_u .rotl .rotr"],
  [0x79, "i64 -> i64", "i64.clz .ctz .popcnt"],
  [0x7c, "i64 i64 -> i64", "i64.add .sub .mul .div_s .div_u .rem_s .rem_u .and .or .xor"],
  [0x86, "i64 i64 -> i64", "i64.shl .shr_s .shr_u .rotl .rotr"],
  // floats
  [0x5b, "f32 f32 -> i32", "f32.eq .ne .lt .gt .le .ge"],
  [0x61, "f64 f64 -> i32", "f64.eq .ne .lt .gt .le .ge"],
  [0x8b, "f32 -> f32", "f32.abs .neg .ceil .floor .trunc .nearest .sqrt"],
  [0x92, "f32 f32 -> f32", "f32.add .sub .mul .div .min .max .copysign"],
  [0x99, "f64 -> f64", "f64.abs .neg .ceil .floor .trunc .nearest .sqrt"],
  [0xa0, "f64 f64 -> f64", "f64.add .sub .mul .div .min .max .copysign"],
  // conversions
  [0xa7, "i64 -> i32", "i32.wrap_i64"],
  [0xa8, "f32 -> i32", "i32.trunc_f32_s .trunc_f32_u"],
  [0xaa, "f64 -> i32", "i32.trunc_f64_s .trunc_f64_u"],
  [0xac, "i32 -> i64", "i64.extend_i32_s .extend_i32_u"],
  [0xae, "f32 -> i64", "i64.trunc_f32_s .trunc_f32_u"],
  [0xb0, "f64 -> i64", "i64.trunc_f64_s .trunc_f64_u"],
  [0xb2, "i32 -> f32", "f32.convert_i32_s .convert_i32_u"],
  [0xb4, "i64 -> f32", "f32.convert_i64_s .convert_i64_u"],
  [0xb6, "f64 -> f32", "f32.demote_f64"],
  [0xb7, "i32 -> f64", "f64.convert_i32_s .convert_i32_u"],
  [0xb9, "i64 -> f64", "f64.convert_i64_s .convert_i64_u"],
  [0xbb, "f32 -> f64", "f64.promote_f32"],
  [0xbc, "f32 -> i32", "i32.reinterpret_f32"],
  [0xbd, "f64 -> i64", "i64.reinterpret_f64"],
  [0xbe, "i32 -> f32", "f32.reinterpret_i32"],
  [0xbf, "i64 -> f64", "f64.reinterpret_i64"],
  [0xc0, "i32 -> i32", "i32.extend8_s .extend16_s"],
  [0xc2, "i64 -> i64", "i64.extend8_s .extend16_s .extend32_s"],
  [0xfc00, "f32 -> i32", "i32.trunc_sat_f32_s .trunc_sat_f32_u"],
  [0xfc02, "f64 -> i32", "i32.trunc_sat_f64_s .trunc_sat_f64_u"],
  [0xfc04, "f32 -> i64", "i64.trunc_sat_f32_s .trunc_sat_f32_u"],
  [0xfc06, "f64 -> i64", "i64.trunc_sat_f64_s .trunc_sat_f64_u"],
  // v128: memory
  [
    0xfd00,
    "addr -> v128",
    "v128.load .load8x8_s .load8x8_u .load16x4_s .load16x4_u .load32x2_s .load32x2_u .load8_splat .load16_splat .load32_splat .load64_splat",
  ],
  [0xfd0b, "addr v128 -> void", "v128.store"],
  [0xfd54, "addr v128 lane -> v128", "v128.load8_lane .load16_lane .load32_lane .load64_lane"],
  [0xfd58, "addr v128 lane -> void", "v128.store8_lane .store16_lane .store32_lane .store64_lane"],
  [0xfd5c, "addr -> v128", "v128.load32_zero .load64_zero"],
  // v128: lanes
  [0xfd0c, "bytes -> v128", "v128.const"],
  [0xfd0d, "v128 v128 bytes -> v128", "i8x16.shuffle"],
  [0xfd0e, "v128 v128 -> v128", "i8x16.swizzle"],
  [0xfd0f, "i32 -> v128", "i8x16.splat i16x8.splat i32x4.splat"],
  [0xfd12, "i64 -> v128", "i64x2.splat"],
  [0xfd13, "f32 -> v128", "f32x4.splat"],
  [0xfd14, "f64 -> v128", "f64x2.splat"],
  [0xfd15, "v128 lane -> i32", "i8x16.extract_lane_s .extract_lane_u _ i16x8.extract_lane_s .extract_lane_u"],
  [0xfd17, "v128 lane i32 -> v128", "i8x16.replace_lane _ _ i16x8.replace_lane _ i32x4.replace_lane"],
  [0xfd1b, "v128 lane -> i32", "i32x4.extract_lane"],
  [0xfd1d, "v128 lane -> i64", "i64x2.extract_lane"],
  [0xfd1e, "v128 lane i64 -> v128", "i64x2.replace_lane"],
  [0xfd1f, "v128 lane -> f32", "f32x4.extract_lane"],
  [0xfd20, "v128 lane f32 -> v128", "f32x4.replace_lane"],
  [0xfd21, "v128 lane -> f64", "f64x2.extract_lane"],
  [0xfd22, "v128 lane f64 -> v128", "f64x2.replace_lane"],
  // v128: comparisons
  [0xfd23, "v128 v128 -> v128", "i8x16.eq .ne .lt_s .lt_u .gt_s .gt_u .le_s .le_u .ge_s .ge_u"],
  [0xfd2d, "v128 v128 -> v128", "i16x8.eq .ne .lt_s .lt_u .gt_s .gt_u .le_s .le_u .ge_s .ge_u"],
  [0xfd37, "v128 v128 -> v128", "i32x4.eq .ne .lt_s .lt_u .gt_s .gt_u .le_s .le_u .ge_s .ge_u"],
  [0xfd41, "v128 v128 -> v128", "f32x4.eq .ne .lt .gt .le .ge"],
  [0xfd47, "v128 v128 -> v128", "f64x2.eq .ne .lt .gt .le .ge"],
  [0xfdd6, "v128 v128 -> v128", "i64x2.eq .ne .lt_s .gt_s .le_s .ge_s"],
  // v128: bits
  [0xfd4d, "v128 -> v128", "v128.not"],
  [0xfd4e, "v128 v128 -> v128", "v128.and .andnot .or .xor"],
  [0xfd52, "v128 v128 v128 -> v128", "v128.bitselect"],
  [0xfd53, "v128 -> i32", "v128.any_true"],
  // i8x16
  [0xfd60, "v128 -> v128", "i8x16.abs .neg .popcnt"],
  [0xfd63, "v128 -> i32", "i8x16.all_true .bitmask"],
  [0xfd65, "v128 v128 -> v128", "i8x16.narrow_i16x8_s .narrow_i16x8_u"],
  [0xfd6b, "v128 i32 -> v128", "i8x16.shl .shr_s .shr_u"],
  [0xfd6e, "v128 v128 -> v128", "i8x16.add .add_sat_s .add_sat_u .sub .sub_sat_s .sub_sat_u"],
  [0xfd76, "v128 v128 -> v128", "i8x16.min_s .min_u .max_s .max_u _ .avgr_u"],
  // i16x8
  [0xfd7c, "v128 -> v128", "i16x8.extadd_pairwise_i8x16_s .extadd_pairwise_i8x16_u"],
  [0xfd80, "v128 -> v128", "i16x8.abs .neg"],
  [0xfd82, "v128 v128 -> v128", "i16x8.q15mulr_sat_s _ _ .narrow_i32x4_s .narrow_i32x4_u"],
  [0xfd83, "v128 -> i32", "i16x8.all_true .bitmask"],
  [0xfd87, "v128 -> v128", "i16x8.extend_low_i8x16_s .extend_high_i8x16_s"],
  [0xfd89, "v128 -> v128", "i16x8.extend_low_i8x16_u .extend_high_i8x16_u"],
  [0xfd8b, "v128 i32 -> v128", "i16x8.shl .shr_s .shr_u"],
  [0xfd8e, "v128 v128 -> v128", "i16x8.add .add_sat_s .add_sat_u .sub .sub_sat_s .sub_sat_u"],
  [0xfd95, "v128 v128 -> v128", "i16x8.mul .min_s .min_u .max_s .max_u _ .avgr_u"],
  [0xfd9c, "v128 v128 -> v128", "i16x8.extmul_low_i8x16_s .extmul_high_i8x16_s"],
  [0xfd9e, "v128 v128 -> v128", "i16x8.extmul_low_i8x16_u .extmul_high_i8x16_u"],
  // i32x4
  [0xfd7e, "v128 -> v128", "i32x4.extadd_pairwise_i16x8_s .extadd_pairwise_i16x8_u"],
  [0xfda0, "v128 -> v128", "i32x4.abs .neg"],
  [0xfda3, "v128 -> i32", "i32x4.all_true .bitmask"],
  [0xfda7, "v128 -> v128", "i32x4.extend_low_i16x8_s .extend_high_i16x8_s"],
  [0xfda9, "v128 -> v128", "i32x4.extend_low_i16x8_u .extend_high_i16x8_u"],
  [0xfdab, "v128 i32 -> v128", "i32x4.shl .shr_s .shr_u"],
  [0xfdae, "v128 v128 -> v128", "i32x4.add _ _ .sub _ _ _ .mul"],
  [0xfdb6, "v128 v128 -> v128", "i32x4.min_s .min_u .max_s .max_u .dot_i16x8_s"],
  [0xfdbc, "v128 v128 -> v128", "i32x4.extmul_low_i16x8_s .extmul_high_i16x8_s"],
  [0xfdbe, "v128 v128 -> v128", "i32x4.extmul_low_i16x8_u .extmul_high_i16x8_u"],
  // i64x2
  [0xfdc0, "v128 -> v128", "i64x2.abs .neg"],
  [0xfdc3, "v128 -> i32", "i64x2.all_true .bitmask"],
  [0xfdc7, "v128 -> v128", "i64x2.extend_low_i32x4_s .extend_high_i32x4_s"],
  [0xfdc9, "v128 -> v128", "i64x2.extend_low_i32x4_u .extend_high_i32x4_u"],
  [0xfdcb, "v128 i32 -> v128", "i64x2.shl .shr_s .shr_u"],
  [0xfdce, "v128 v128 -> v128", "i64x2.add _ _ .sub _ _ _ .mul"],
  [0xfddc, "v128 v128 -> v128", "i64x2.extmul_low_i32x4_s .extmul_high_i32x4_s"],
  [0xfdde, "v128 v128 -> v128", "i64x2.extmul_low_i32x4_u .extmul_high_i32x4_u"],
  // f32x4, f64x2
  [0xfd67, "v128 -> v128", "f32x4.ceil .floor .trunc .nearest"],
  [0xfde0, "v128 -> v128", "f32x4.abs .neg _ .sqrt"],
  [0xfde4, "v128 v128 -> v128", "f32x4.add .sub .mul .div .min .max .pmin .pmax"],
  [0xfd74, "v128 -> v128", "f64x2.ceil .floor _ _ _ _ .trunc"],
  [0xfd94, "v128 -> v128", "f64x2.nearest"],
  [0xfdec, "v128 -> v128", "f64x2.abs .neg _ .sqrt"],
  [0xfdf0, "v128 v128 -> v128", "f64x2.add .sub .mul .div .min .max .pmin .pmax"],
  // v128: conversions
  [0xfd5e, "v128 -> v128", "f32x4.demote_f64x2_zero f64x2.promote_low_f32x4"],
  [0xfdf8, "v128 -> v128", "i32x4.trunc_sat_f32x4_s .trunc_sat_f32x4_u f32x4.convert_i32x4_s .convert_i32x4_u"],
  [0xfdfc, "v128 -> v128", "i32x4.trunc_sat_f64x2_s_zero .trunc_sat_f64x2_u_zero"],
  [0xfdfe, "v128 -> v128", "f64x2.convert_low_i32x4_s .convert_low_i32x4_u"],
  // relaxed SIMD
  [0xfd100, "v128 v128 -> v128", "i8x16.relaxed_swizzle"],
  [0xfd101, "v128 -> v128", "i32x4.relaxed_trunc_f32x4_s .relaxed_trunc_f32x4_u"],
  [0xfd103, "v128 -> v128", "i32x4.relaxed_trunc_f64x2_s_zero .relaxed_trunc_f64x2_u_zero"],
  [0xfd105, "v128 v128 v128 -> v128", "f32x4.relaxed_madd .relaxed_nmadd f64x2.relaxed_madd .relaxed_nmadd"],
  [
    0xfd109,
    "v128 v128 v128 -> v128",
    "i8x16.relaxed_laneselect i16x8.relaxed_laneselect i32x4.relaxed_laneselect i64x2.relaxed_laneselect",
  ],
  [0xfd10d, "v128 v128 -> v128", "f32x4.relaxed_min .relaxed_max f64x2.relaxed_min .relaxed_max"],
  [0xfd111, "v128 v128 -> v128", "i16x8.relaxed_q15mulr_s .relaxed_dot_i8x16_i7x16_s"],
  [0xfd113, "v128 v128 v128 -> v128", "i32x4.relaxed_dot_i8x16_i7x16_add_s"],
  // threads
  [0xfe00, "addr i32 -> i32", "memory.atomic.notify"],
  [0xfe01, "addr i32 i64 -> i32", "memory.atomic.wait32"],
  [0xfe02, "addr i64 i64 -> i32", "memory.atomic.wait64"],
  [0xfe03, "zero -> void", "atomic.fence"],
  [0xfe10, "addr -> i32", "i32.atomic.load _ .atomic.load8_u .atomic.load16_u"],
  [0xfe11, "addr -> i64", "i64.atomic.load _ _ .atomic.load8_u .atomic.load16_u .atomic.load32_u"],
  [0xfe17, "addr i32 -> void", "i32.atomic.store _ .atomic.store8 .atomic.store16"],
  [0xfe18, "addr i64 -> void", "i64.atomic.store _ _ .atomic.store8 .atomic.store16 .atomic.store32"],
  [0xfe1e, "addr i32 -> i32", "i32.atomic.rmw.add _ .atomic.rmw8.add_u .atomic.rmw16.add_u"],
  [0xfe1f, "addr i64 -> i64", "i64.atomic.rmw.add _ _ .atomic.rmw8.add_u .atomic.rmw16.add_u .atomic.rmw32.add_u"],
  [0xfe25, "addr i32 -> i32", "i32.atomic.rmw.sub _ .atomic.rmw8.sub_u .atomic.rmw16.sub_u"],
  [0xfe26, "addr i64 -> i64", "i64.atomic.rmw.sub _ _ .atomic.rmw8.sub_u .atomic.rmw16.sub_u .atomic.rmw32.sub_u"],
  [0xfe2c, "addr i32 -> i32", "i32.atomic.rmw.and _ .atomic.rmw8.and_u .atomic.rmw16.and_u"],
  [0xfe2d, "addr i64 -> i64", "i64.atomic.rmw.and _ _ .atomic.rmw8.and_u .atomic.rmw16.and_u .atomic.rmw32.and_u"],
  [0xfe33, "addr i32 -> i32", "i32.atomic.rmw.or _ .atomic.rmw8.or_u .atomic.rmw16.or_u"],
  [0xfe34, "addr i64 -> i64", "i64.atomic.rmw.or _ _ .atomic.rmw8.or_u .atomic.rmw16.or_u .atomic.rmw32.or_u"],
  [0xfe3a, "addr i32 -> i32", "i32.atomic.rmw.xor _ .atomic.rmw8.xor_u .atomic.rmw16.xor_u"],
  [0xfe3b, "addr i64 -> i64", "i64.atomic.rmw.xor _ _ .atomic.rmw8.xor_u .atomic.rmw16.xor_u .atomic.rmw32.xor_u"],
  [0xfe41, "addr i32 -> i32", "i32.atomic.rmw.xchg _ .atomic.rmw8.xchg_u .atomic.rmw16.xchg_u"],
  [0xfe42, "addr i64 -> i64", "i64.atomic.rmw.xchg _ _ .atomic.rmw8.xchg_u .atomic.rmw16.xchg_u .atomic.rmw32.xchg_u"],
  [0xfe48, "addr i32 i32 -> i32", "i32.atomic.rmw.cmpxchg _ .atomic.rmw8.cmpxchg_u .atomic.rmw16.cmpxchg_u"],
  [0xfe49, "addr i64 i64 -> i64", "i64.atomic.rmw.cmpxchg _ _ .atomic.rmw8.cmpxchg_u .atomic.rmw16.cmpxchg_u"],
  [0xfe4e, "addr i64 i64 -> i64", "i64.atomic.rmw32.cmpxchg_u"],
] as const;

/** The names of a row, in full, and its gaps. */
export function namesOf(row: string): string[] {
  let space = "";
  return row.split(" ").map((name) => {
    if (name.startsWith(".")) return space + name;
    if (name !== "_") space = name.split(".")[0];
    return name;
  });
}
