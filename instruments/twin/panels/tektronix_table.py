"""Plain settings of a simulated Tektronix MSO: kept, queried and reset; what acts on records is elsewhere.

Headers, words and ranges from the programmer manual of the 4, 5 and 6 Series MSO.
"""

ACQUISITION = """
    ACQuire:MODe                  SAM      words SAMple PEAKdetect HIRes AVErage ENVelope
    ACQuire:STOPAfter             RUNST    words RUNSTop SEQuence
    ACQuire:SEQuence:NUMSEQuence  1        int 1 1
    HORizontal:MODe               AUTO     words AUTO MANual
    HORizontal:MODe:MANual:CONFIGure HORIZ words HORIZontalscale RECORDLength
    HORizontal:POSition           50       real 0 100
    HORizontal:DELay:MODe         1        bool
    HORizontal:DELay:TIMe         0        real -50 5000 s
    DATa:ENCdg                    RIB      words ASCIi FAStest RIBinary RPBinary SRIbinary SRPbinary
    DATa:RESOlution               FULL     words FULL
    DATa:WIDth                    1        int 1 2
    ACQuire:NUMAVg                16       int 2 10240
    ACQuire:FASTAcq:STATE         0        bool
    ACQuire:FASTAVerage:STATE     0        bool
    HORizontal:FASTframe:STATE    0        bool
    HORizontal:FASTframe:COUNt    2        int 1 1000000
    HORizontal:ROLL               AUTO     words AUTO OFF
    HORizontal:SAMPLERate:ANALYZemode:MINimum:VALue AUTO real 1 1e12 Hz or AUTOmatic
    DESE                          255      int 0 255
    *PSC                          1        bool
"""
INPUTS = """
    CH<n>:OFFSet                  0        real -100 100 V
    CH<n>:POSition                0        real -8 8
    CH<n>:COUPling                DC       words AC DC DCREJect
    CH<n>:INVert                  0        bool
    CH<n>:DESKew                  0        real -125e-9 125e-9 s
    CH<n>:DITHERrange             0        real 0 1e3 V
    CH<n>:LABel:COLor             -        text 32
    CH<n>:LABel:FONT:SIZE         14       int 6 99
    CH<n>:LABel:XPOS              0        real -1e4 1e4
    CH<n>:LABel:YPOS              0        real -1e4 1e4
    CH<n>:PROBEFunc:EXTAtten      1        real 1e-10 1e10
    CH<n>:PROBEFunc:EXTDBatten    0        real -200 200
    CH<n>:PROBEFunc:EXTUnits      -        text 32
    CH<n>:PROBEFunc:EXTUnits:STATE 0       bool
    CH<n>:SCALERATio              1        real 0.1 10
    CH<n>:PROBe:FORCEDRange       0        real 0 1e4
    CH<n>:PROBe:SET               -        text 64
    CH<n>:VTERm:BIAS              0        real -5 5 V
"""
TRIGGER = """
    TRIGger:A:HOLDoff:BY          TIM      words TIMe RANDom
    TRIGger:A:HOLDoff:TIMe        1e-9     real 0 10 s
    TRIGger:A:MODe                AUTO     words AUTO NORMal
    TRIGger:A:EDGE:SLOpe          RIS      words RISe FALL EITher
    TRIGger:A:EDGE:COUPling       DC       words DC HFRej LFRej NOISErej
    TRIGger:AUXLevel              0        real -8 8 V
    TRIGger:A:LEVel:CH<n>         0        real -1e3 1e3 V
    TRIGger:A:LOWerthreshold:CH<n> 0       real -1e3 1e3 V @TRIGger:A:LEVel:CH<n>
    TRIGger:A:UPPerthreshold:CH<n> 1.4     real -1e3 1e3 V
    TRIGger:A:TYPe                EDG      words EDGe WIDth TIMEOut RUNt WINdow LOGIc SETHold TRANsition BUS
    TRIGger:B:STATE               0        bool
    TRIGger:B:TYPe                EDG      words EDGe
    TRIGger:B:EDGE:SOUrce         CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:B:EDGE:SLOpe          RIS      words RISe FALL EITher
    TRIGger:B:BY                  TIM      words TIMe EVENTS
    TRIGger:B:LEVel:CH<n>         0        real -1e3 1e3 V
    TRIGger:A:PULSEWidth:SOUrce   CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:A:PULSEWidth:POLarity POS      words POSitive NEGative
    TRIGger:A:PULSEWidth:WHEn     LESS     words LESSthan MOREthan EQual UNEQual WIThin OUTside
    TRIGger:A:PULSEWidth:LOGICQUALification OFF words OFF ON
    TRIGger:A:TIMEOut:SOUrce      CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:A:TIMEOut:POLarity    STAYSH   words STAYSHigh STAYSLow EITher
    TRIGger:A:TIMEOut:TIMe        8e-9     real 0 20 s
    TRIGger:A:RUNT:SOUrce         CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:A:RUNT:POLarity       POS      words POSitive NEGative EITher
    TRIGger:A:RUNT:WHEn           OCC      words OCCURS LESSthan MOREthan EQual UNEQual
    TRIGger:A:RUNT:WIDth          8e-9     real 0 20 s
    TRIGger:A:TRANsition:SOUrce   CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:A:TRANsition:WHEn     SLOW     words SLOWer FASTer EQual UNEQual
    TRIGger:A:TRANsition:DELTatime 8e-9    real 0 20 s
    TRIGger:A:WINdow:SOUrce       CH1      words CH1 CH2 CH3 CH4 CH5 CH6 CH7 CH8
    TRIGger:B:EVENTS:COUNt        1        int 1 65471
    TRIGger:B:TIMe                16e-9    real 0 20 s
    TRIGger:B:EDGE:COUPling       DC       words DC HFRej LFRej NOISErej
    ACTONEVent:ENable             0        bool
    ACTONEVent:LIMIT              0        bool
    ACTONEVent:LIMITCount         1        int 1 1000000
    ACTONEVent:REPEATCount        1        int 1 1000000
    ACTONEVent:TRIGger:ACTION:SAVEIMAGe:STATE 0 bool
    ACTONEVent:TRIGger:ACTION:SAVEWAVEform:STATE 0 bool
    ACTONEVent:TRIGger:ACTION:STOPACQ:STATE 0 bool
    TRIGger:A:PULSEWidth:HIGHLimit 16e-9   real 0 20 s
    TRIGger:A:PULSEWidth:LOWLimit 8e-9     real 0 20 s
"""
SCREEN = """
    DISplay:INTENSITy:BACKLight           HIGH words LOW MEDium HIGH
    DISplay:PERSistence                   OFF  words OFF AUTO INFPersist INFInite VARpersist
    DISplay:WAVEform                      1    bool
    DISplay:WAVEView<n>:VIEWStyle           STAC words STAcked OVErlay
    DISplay:WAVEView<n>:GRIDTYPE            FIX  words FIXed MOVEable
    DISplay:WAVEView<n>:INTENSITy:GRATicule 20   int 0 100
    DISplay:WAVEView<n>:INTENSITy:WAVEform  50   int 1 100
    DISplay:WAVEView<n>:GRAticule           FUL  words FULl GRId NONe FRAme
    DISplay:WAVEView<n>:FILTer              SIN  words SINX LINEAr AUTO
    DISplay:WAVEView<n>:CURSor:CURSOR1:STATE 0   bool
    DISplay:COLors                        NOR  words NORMal INVERted
    MEASUrement:REFLevels:METHod          PERC words PERCent ABSolute
    MEASUrement:REFLevels:PERCent:RISEHigh 90  real 0 100
    MEASUrement:REFLevels:PERCent:RISEMid 50   real 0 100
    MEASUrement:REFLevels:PERCent:RISELow 10   real 0 100
    MEASUrement:REFLevels:PERCent:FALLHigh 90  real 0 100
    MEASUrement:REFLevels:PERCent:FALLMid 50   real 0 100
    MEASUrement:REFLevels:PERCent:FALLLow 10   real 0 100
    MEASUrement:REFLevels:TYPE            SAM  words SAME UNIQue
    MEASUrement:GATing                    NON  words NONe SCREEN CURSor LOGic SEArch TIMe
    MEASUrement:STATIstics:CYCLEMode      0    bool
    MEASUrement:ANNOTate                  AUTO words OFF AUTO
    TIMe:ZONe                             -    text 64
    DISplay:WAVEView<n>:CURSor:CURSOR<n>:FUNCtion WAV words WAVEform VBArs HBArs SCREEN
    LOCk                                  NON  words ALL NONe
    MESSage:SHOW                          -    text 1000
    MESSage:STATE                         0    bool
    SAVe:IMAGe:COMPosition                NORM words NORMal INVErted
    SAVe:IMAGe:VIEWTYpe                   FULL words FULLScreen
    SAVe:IMAGe:FILEFormat                 PNG  words PNG BMP JPG
    SAVe:WAVEform:FILEFormat              SPR  words SPREADSheet INTERNal
    ETHERnet:NAME                         MSO54 text 63
    ROSc:SOUrce                           INTER words INTERnal EXTernal
    AUXout:SOUrce                         ATRIG words ATRIGger REFOUT EVENT AFG
"""
